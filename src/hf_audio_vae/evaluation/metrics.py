"""Reconstruction metrics with published definitions, one value per item."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hf_audio_vae.audio.distance import STFT_WINDOW_LENGTHS, mel_distance, stft_distance
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import mel_filters

BANDWIDTH_WINDOW = 2048
MEL_SCALES = ((2048, 150), (512, 80))  # (window length, mels)


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
        filters = mel_filters(n_mels, length, sampling_rate, ours.waveform.device)
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


def measure(
    reconstruction: Tensor, original: Tensor, losses: Mapping[str, Tensor], sampling_rate: int
) -> dict[str, float]:
    """All metrics of one clip, (1, audio_channels, time) twice, and the auxiliary losses of its model."""
    metrics = reconstruction_metrics(reconstruction, original, sampling_rate) | dict(losses)
    return {name: value.mean().item() for name, value in metrics.items()}


def mean_metrics(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each metric over clips; `ValueError` if there are none."""
    if not rows:
        raise ValueError("the data set has no items to measure; check its path and split.")
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
