"""Additional reconstruction metrics: level of the error, log spectra, mel spectra, phase and stereo."""

import torch
from torch import Tensor

from hf_audio_vae.audio.distance import mel_distance
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import magnitude, mel_filters

WINDOW = 2048  # samples; the hop is a quarter
# Scales of DAC's training, (window length, mels). The default of its class differs, see `metrics.MEL_SCALES`.
TRAINING_MEL_SCALES = ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))


def snr(estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
    """Signal-to-noise ratio in dB, ``10 log10(|t|² / |e - t|²)`` per channel, then averaged over channels.

    A wrong gain, offset or polarity counts as noise, unlike in `si_sdr`. Higher is better. The epsilon of float32 is
    added to energies, so silence gives a finite value.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.

    Returns:
        `torch.Tensor` of shape `(batch,)`, in dB.

    Example:
        >>> target = torch.sin(torch.arange(1000.0)).reshape(1, 1, -1)
        >>> round(snr(0.9 * target, target).item(), 2)
        20.0
    """
    estimate, target = Spectra.of(estimate).waveform, Spectra.of(target).waveform
    floor = torch.finfo(torch.float32).eps
    signal, noise = target.square().sum(dim=-1), (estimate - target).square().sum(dim=-1)
    return (10 * torch.log10((signal + floor) / (noise + floor))).mean(dim=1)


def log_spectral_distance(estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
    """Log-spectral distance in dB: root mean square over frequencies, mean over frames and channels.

    This is eq. 4 of Gray & Markel, 1976 (doi:10.1109/TASSP.1976.1162849), of magnitudes in dB. The Hann windows have
    2048 samples and a hop of 512. Magnitudes are at least 1e-4, which is 134 dB below a full-scale sine. Papers on
    super-resolution print a tenth of this value (log10 of powers instead of dB). Lower is better.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.

    Returns:
        `torch.Tensor` of shape `(batch,)`, in dB.
    """
    ours, theirs = (magnitude(Spectra.of(signal).stft(WINDOW)) for signal in (estimate, target))
    difference = 20 * (ours.log10() - theirs.log10())  # (batch, channels, bins, frames)
    return difference.square().mean(dim=2).sqrt().mean(dim=(1, 2))


def mel_distance_seven_scales(estimate: Tensor | Spectra, target: Tensor | Spectra, sampling_rate: int) -> Tensor:
    """DAC's "mel distance" as its training computes it. Lower is better.

    The scales have 5, 10, 20, 40, 80, 160 and 320 mels and windows of 32 to 2048 samples. The hop is a quarter of the
    window. The distance of a scale is the L1 of log10 mel magnitudes, which are at least 1e-5. The distances are
    summed over scales (Kumar et al., 2023, arXiv:2306.06546). The sum is not comparable with
    `mel_spectrogram_distance`.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.
        sampling_rate (`int`): In Hz.

    Returns:
        `torch.Tensor` of shape `(batch,)`.
    """
    ours, theirs = Spectra.of(estimate), Spectra.of(target)
    distances: list[Tensor] = []
    for length, n_mels in TRAINING_MEL_SCALES:
        filters = mel_filters(n_mels, length, sampling_rate, device=ours.waveform.device)
        distances.append(mel_distance(ours, theirs, length, filters)[0])
    return torch.stack(distances).sum(dim=0)


def phase_coherence(estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
    """Mean cosine of the phase error of short-time spectra, weighted by both magnitudes, mean over channels.

    The value of a channel is ``Re Σ X conj(Y) / Σ |X| |Y|``, with sums over bins and frames. This is the normalised
    phase-sensitive term of Erdogan et al., 2015 (doi:10.1109/ICASSP.2015.7178061). It is 1 if all phases are equal, -1
    for inverted polarity, and 0 on average for unrelated phases. A gain has no effect. The Hann windows have 2048
    samples and a hop of 512. Higher is better.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.

    Returns:
        `torch.Tensor` of shape `(batch,)`, in [-1, 1]. Channels that are silent in either signal are left out; NaN if
        there are no others.
    """
    ours, theirs = (Spectra.of(signal).stft(WINDOW) for signal in (estimate, target))
    aligned = (ours * theirs.conj()).real.sum(dim=(2, 3))
    weights = (ours.abs() * theirs.abs()).sum(dim=(2, 3))  # (batch, channels)
    return (aligned / weights).clamp(-1, 1).nanmean(dim=1)


def interchannel_phase_coherence(estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
    """Mean cosine of the error of the phase difference between left and right, weighted by magnitude.

    The phase difference is the angle of ``L conj(R)`` in each bin and frame (Breebaart et al., 2005,
    doi:10.1155/ASP.2005.1305). Its weight is the geometric mean of the magnitudes of the cross-spectra of both
    signals. The value is 1 if all differences are kept, and -1 if one channel is inverted. The windows are those of
    `phase_coherence`. Higher is better.

    Args:
        estimate (`torch.Tensor` of shape `(batch, 2, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.

    Returns:
        `torch.Tensor` of shape `(batch,)`, in [-1, 1]; NaN if in every bin some channel of a signal is 0.

    Raises:
        ValueError: The signals are not stereo.
    """
    ours, theirs = (_cross_spectrum(Spectra.of(signal)) for signal in (estimate, target))
    weights = (ours.abs() * theirs.abs()).sqrt()  # (batch, bins, frames)
    cosines = torch.cos(ours.angle() - theirs.angle())
    return ((weights * cosines).sum(dim=(1, 2)) / weights.sum(dim=(1, 2))).clamp(-1, 1)


def interchannel_coherence_error(estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
    """Mean absolute error of the coherence of left and right, weighted by the target's power in each bin.

    The coherence is ``|Σ L conj(R)| / sqrt(Σ |L|² Σ |R|²)``, with sums over the frames of a bin (Breebaart et al.,
    2005, doi:10.1155/ASP.2005.1305). It is 1 for a panned source, and near 0 for independent channels. The windows are
    those of `phase_coherence`. Lower is better.

    Args:
        estimate (`torch.Tensor` of shape `(batch, 2, time)`): Reconstruction. A silent channel has coherence 0.
        target (`torch.Tensor`, same shape): Original.

    Returns:
        `torch.Tensor` of shape `(batch,)`, in [0, 1]; NaN if the target is silent.

    Raises:
        ValueError: The signals are not stereo.
    """
    ours, theirs = Spectra.of(estimate), Spectra.of(target)
    error = (_coherence(ours) - _coherence(theirs)).abs()  # (batch, bins)
    weights = theirs.stft(WINDOW).abs().square().sum(dim=(1, 3))
    return (error * weights).sum(dim=1) / weights.sum(dim=1)


def _cross_spectrum(spectra: Spectra) -> Tensor:
    """``L conj(R)``; (batch, 2, time) -> complex (batch, bins, frames)."""
    if spectra.waveform.shape[1] != 2:
        raise ValueError(
            f"the signals have {spectra.waveform.shape[1]} channels; metrics between channels need stereo, leave "
            f"them out."
        )
    left, right = spectra.stft(WINDOW).unbind(dim=1)
    return left * right.conj()


def _coherence(spectra: Spectra) -> Tensor:
    """Coherence of the channels in each bin; (batch, 2, time) -> (batch, bins)."""
    cross = _cross_spectrum(spectra).sum(dim=-1).abs()
    powers = spectra.stft(WINDOW).abs().square().sum(dim=-1)  # (batch, 2, bins)
    # Roots before the product: squares of a quiet signal underflow.
    return (cross / powers.sqrt().prod(dim=1).clamp(min=torch.finfo(cross.dtype).tiny)).clamp(max=1)
