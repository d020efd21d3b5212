"""Reconstruction metrics with published definitions, one value per item."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hf_audio_vae.audio.distance import (
    STFT_WINDOW_LENGTHS,
    log_magnitude_distance,
    mel_distance,
    quietest_magnitude,
    stft_distance,
)
from hf_audio_vae.audio.framing import blocks_with_margins
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import magnitude, mel_filters

BANDWIDTH_WINDOW = 2048
MEL_SCALES = ((2048, 150), (512, 80))  # (window length, mels)
BLOCK = 1 << 17  # samples; a multiple of all hops
MARGIN = 1024  # samples that the longest window reaches around a block; a multiple of all hops


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, per channel without its mean, then averaged over channels.

    Le Roux et al., 2019 (arXiv:1811.02508), eq. 4, per channel as in auraloss. Higher is better. The epsilon of
    float32 is added to energies, so a silent target gives a finite value.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.

    Returns:
        `torch.Tensor` of shape `(batch,)`, in dB.

    Example:
        >>> target = torch.sin(torch.arange(1000.0)).reshape(1, 1, -1)
        >>> noise = torch.cos(torch.arange(1000.0)).reshape(1, 1, -1)
        >>> round(si_sdr(0.5 * target + 0.05 * noise, target).item())
        20
    """
    floor = torch.finfo(torch.float32).eps
    estimate = estimate - estimate.mean(dim=-1, keepdim=True)
    target = target - target.mean(dim=-1, keepdim=True)
    scale = (estimate * target).sum(dim=-1, keepdim=True) / (target.square().sum(dim=-1, keepdim=True) + floor)
    signal = (scale * target).square().sum(dim=-1)
    distortion = (estimate - scale * target).square().sum(dim=-1)
    return (10 * torch.log10((signal + floor) / (distortion + floor))).mean(dim=1)


def over_sounding_channels(ratio: Callable[[Tensor, Tensor], Tensor], estimate: Tensor, target: Tensor) -> Tensor:
    """Return the mean of a ratio of energies over the channels of the target that are not constant.

    The energy of silence is 0. Its ratio in dB would be that of the epsilon, and would decide the mean over items.

    Args:
        ratio (`Callable`): ``ratio(estimate, target)`` of (batch, 1, time) each returns (batch,).
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstructions.
        target (`torch.Tensor`, same shape): Originals.

    Returns:
        `torch.Tensor` of shape `(batch,)`; NaN if all channels are constant.
    """
    batch, channels, _ = target.shape
    single = (waveform.flatten(0, 1)[:, None] for waveform in (estimate, target))
    values = ratio(*single).reshape(batch, channels)
    constant = (target == target[..., :1]).all(dim=-1)
    return values.masked_fill(constant, math.nan).nanmean(dim=1)


def multi_resolution_stft_distance(estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
    """Spectral convergence plus natural-log magnitude L1, mean over windows 2048 to 32 with hop 1/4 (as in auraloss).

    The convergence is computed per item, so the value does not depend on the batch. Its denominator is at least that
    of noise at -60 dB, so silence does not divide by zero. Lower is better.
    (batch, audio_channels, time) twice -> (batch,).
    """
    ours, theirs = Spectra.of(estimate), Spectra.of(target)
    return torch.stack([stft_distance(ours, theirs, length) for length in STFT_WINDOW_LENGTHS]).mean(dim=0)


def mel_spectrogram_distance(estimate: Tensor | Spectra, target: Tensor | Spectra, sampling_rate: int) -> Tensor:
    """DAC's "mel distance" with its class defaults, as reported in its tables. Lower is better.

    150 and 80 mels with windows 2048 and 512, hop 1/4; L1 of log10 of squared mel spectra plus L1 of mel spectra,
    summed over both scales. Not comparable with the seven-scale training loss of DAC.
    (batch, audio_channels, time) twice -> (batch,).
    """
    ours, theirs = Spectra.of(estimate), Spectra.of(target)
    distances: list[Tensor] = []
    for length, n_mels in MEL_SCALES:
        filters = mel_filters(n_mels, length, sampling_rate, device=ours.waveform.device)
        distances += mel_distance(ours, theirs, length, filters, power=2.0)
    return torch.stack(distances).sum(dim=0)


def bandwidth(waveform: Tensor, sampling_rate: int, *, floor_db: float = 60.0) -> Tensor:
    """Highest frequency in Hz with a mean power within `floor_db` of the maximum over frequencies; 0 for silence.

    Power is averaged over time and channels. Windows of 2048 samples that extend beyond the signal are excluded:
    reflection padding spreads a tone over all frequencies.
    (batch, audio_channels, time) -> (batch,).

    Example:
        >>> tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000).reshape(1, 1, -1)
        >>> 1000 <= bandwidth(tone, 16000).item() < 1050
        True
    """
    power = Spectra.of(waveform).stft(BANDWIDTH_WINDOW).abs().square()  # (batch, channels, bins, frames)
    power = (power[..., 2:-2] if power.shape[-1] > 4 else power).mean(dim=(1, 3))  # (batch, bins)
    audible = power > power.amax(dim=1, keepdim=True) * 10 ** (-floor_db / 10)
    bins = torch.arange(power.shape[1], device=power.device)
    return (bins * audible).amax(dim=1) * (sampling_rate / BANDWIDTH_WINDOW)


def reconstruction_metrics(estimate: Tensor, target: Tensor, sampling_rate: int) -> dict[str, Tensor]:
    """SI-SDR, STFT and mel distance by metric name, (batch,) each; inputs (batch, audio_channels, time)."""
    ours, theirs = Spectra(estimate.float()), Spectra(target.float())
    return {
        "si_sdr_db": si_sdr(ours.waveform, theirs.waveform),
        "multi_resolution_stft": multi_resolution_stft_distance(ours, theirs),
        "mel_distance": mel_spectrogram_distance(ours, theirs, sampling_rate),
    }


def reconstruction_metrics_in_blocks(
    read_estimate: Callable[[int, int], Tensor],
    read_target: Callable[[int, int], Tensor],
    time: int,
    sampling_rate: int,
) -> dict[str, float]:
    """`reconstruction_metrics` of one signal of any length, with constant memory.

    Args:
        read_estimate (`Callable`): ``read_estimate(start, stop)`` returns these samples, (audio_channels, stop -
            start).
        read_target (`Callable`): The same for the original.
        time (`int`): Length in samples.
        sampling_rate (`int`): Sampling rate in Hz.
    """
    sums: defaultdict[tuple[str, int], float] = defaultdict(float)  # by quantity and window length
    moments = torch.zeros(())
    for block, segment in blocks_with_margins(time, BLOCK, MARGIN):
        estimate, target = (read(segment.start, segment.stop)[None].float() for read in (read_estimate, read_target))
        inner = slice(block.start - segment.start, block.stop - segment.start)
        moments = moments + _moments(estimate[0, :, inner], target[0, :, inner])
        ours, theirs = (_BlockSpectra(x, inner.start, block, time) for x in (estimate, target))
        for length in STFT_WINDOW_LENGTHS:
            a, b = magnitude(ours.stft(length)), magnitude(theirs.stft(length))
            sums["frames", length] += a.shape[-1]
            sums["values", length] += a.numel()
            sums["error", length] += float((a - b).square().sum(dtype=torch.float64))
            sums["target", length] += float(b.square().sum(dtype=torch.float64))
            sums["log", length] += float(log_magnitude_distance(a, b)) * a.shape[-1]
        for length, n_mels in MEL_SCALES:
            filters = mel_filters(n_mels, length, sampling_rate)
            logs, magnitudes = mel_distance(ours, theirs, length, filters, power=2.0)
            sums["mel", length] += float(logs + magnitudes) * ours.stft(length).shape[-1]
    distances = []
    for length in STFT_WINDOW_LENGTHS:
        quietest = float(quietest_magnitude(length)) * math.sqrt(sums["values", length])
        convergence = math.sqrt(sums["error", length]) / max(math.sqrt(sums["target", length]), quietest)
        distances.append(convergence + sums["log", length] / sums["frames", length])
    return {
        "si_sdr_db": _si_sdr_of_moments(moments, time),
        "multi_resolution_stft": sum(distances) / len(distances),
        "mel_distance": sum(sums["mel", length] / sums["frames", length] for length, _ in MEL_SCALES),
    }


class _BlockSpectra(Spectra):
    """Spectra of a block: those frames of the segment around it whose centre is in the block."""

    def __init__(self, segment: Tensor, margin: int, block: range, time: int) -> None:
        super().__init__(segment)
        self._margin, self._length, self._is_last = margin, len(block), block.stop == time

    def _transform(self, window_length: int) -> Tensor:
        hop_length = window_length // 4
        first = self._margin // hop_length
        last = None if self._is_last else first + self._length // hop_length
        return super()._transform(window_length)[..., first:last]


def _moments(estimate: Tensor, target: Tensor) -> Tensor:
    """Sums of values, squares and products of each channel; (channels, time) twice -> (5, channels)."""
    e, t = estimate.double(), target.double()
    return torch.stack([x.sum(dim=-1) for x in (e, t, e * e, t * t, e * t)])


def _si_sdr_of_moments(moments: Tensor, time: int) -> float:
    """`si_sdr` from the sums over all samples, (5, channels)."""
    floor = torch.finfo(torch.float32).eps
    e, t, ee, tt, et = moments
    ee, tt, et = ee - e * e / time, tt - t * t / time, et - e * t / time
    scale = et / (tt + floor)
    distortion = (ee - 2 * scale * et + scale**2 * tt).clamp(min=0)
    return float((10 * torch.log10((scale**2 * tt + floor) / (distortion + floor))).mean())


def measure(
    reconstruction: Tensor, original: Tensor, losses: Mapping[str, Tensor], sampling_rate: int
) -> dict[str, float]:
    """All metrics of one clip, (1, audio_channels, time) twice, and the auxiliary losses of its model.

    A silent clip has no SI-SDR, and silent channels do not count in it.
    """
    metrics = reconstruction_metrics(reconstruction, original, sampling_rate) | dict(losses)
    constant = (original == original[..., :1]).all(dim=-1)
    if bool(constant.all()):
        del metrics["si_sdr_db"]
    elif bool(constant.any()):
        metrics["si_sdr_db"] = over_sounding_channels(si_sdr, reconstruction.float(), original.float())
    return {name: value.mean().item() for name, value in metrics.items()}


def mean_metrics(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each metric over the clips that have it; `ValueError` if there are no clips."""
    if not rows:
        raise ValueError("the data set has no items to measure; check its path and split.")
    values: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            values[name].append(value)
    return {name: sum(column) / len(column) for name, column in values.items()}
