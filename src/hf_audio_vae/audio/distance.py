"""Spectral distances of each item of a batch, shared by the losses and the evaluation."""

import math

import torch
from torch import Tensor, linalg

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import CPU, hann_window, magnitude

MIN_MEL_POWER = 1e-20  # keeps gradients finite; mel spectra are clamped separately

# Spectral convergence is relative to the target or to white noise at this level (-60 dB), whichever is louder.
# Otherwise the error of a single silent crop would outweigh a whole batch.
QUIET = 1e-3
STFT_WINDOW_LENGTHS = (2048, 1024, 512, 256, 128, 64, 32)  # Stable Audio's resolutions


def spectral_convergence(estimate: Tensor, target: Tensor, quiet: Tensor) -> Tensor:
    """Relative Frobenius distance of magnitudes; (batch, channels, bins, frames) -> (batch,).

    Arik et al., 2018 (arXiv:1808.06719), eq. 2. The norm runs over all channels of one item, so items do not affect
    each other and a silent channel is not normalised by itself. `quiet` is the minimum magnitude of a bin in the
    denominator.
    """
    error = linalg.vector_norm(estimate - target, dim=(1, 2, 3))
    min_norm = quiet * math.sqrt(target[0].numel())
    return error / linalg.vector_norm(target, dim=(1, 2, 3)).clamp(min=min_norm)


def log_magnitude_distance(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of natural logarithms (same paper, eq. 3); shapes as above."""
    return (estimate.log() - target.log()).abs().mean(dim=(1, 2, 3))


def quietest_magnitude(window_length: int, device: torch.device = CPU) -> Tensor:
    """Magnitude in a bin of noise at the level `QUIET`."""
    return QUIET * linalg.vector_norm(hann_window(window_length, device))


def stft_distance(estimate: Spectra, target: Spectra, window_length: int, gain: Tensor | None = None) -> Tensor:
    """Spectral convergence plus log-magnitude distance at one resolution, with a hop of a quarter of the window.

    Args:
        estimate (`Spectra` of a waveform `(batch, channels, time)`): Reconstruction.
        target (`Spectra`, same shape): Reference.
        window_length (`int`): Length of the Hann window in samples.
        gain (`torch.Tensor` of shape `(window_length // 2 + 1,)`, *optional*): Factor for each bin, e.g. A-weighting.

    Returns:
        `torch.Tensor` of shape `(batch,)`.
    """
    bin_gain = None if gain is None else gain[:, None]  # (bins, 1)
    ours = magnitude(estimate.stft(window_length), gain=bin_gain)
    theirs = magnitude(target.stft(window_length), gain=bin_gain)
    quiet = quietest_magnitude(window_length, ours.device)
    return spectral_convergence(ours, theirs, quiet) + log_magnitude_distance(ours, theirs)


def mel_distance(
    estimate: Spectra,
    target: Spectra,
    window_length: int,
    filters: Tensor,
    *,
    power: float = 1.0,
    floor: float = 1e-5,
) -> tuple[Tensor, Tensor]:
    """L1 distances of log10 mel and of mel spectra at one resolution (Kumar et al., 2023, arXiv:2306.06546).

    Args:
        estimate (`Spectra` of a waveform `(batch, channels, time)`): Reconstruction.
        target (`Spectra`, same shape): Reference.
        window_length (`int`): Length of the Hann window in samples; the hop is a quarter of it.
        filters (`torch.Tensor` of shape `(n_mels, window_length // 2 + 1)`): Mel filters.
        power (`float`): Exponent inside the logarithm.
        floor (`float`): Minimum mel magnitude inside the logarithm.

    Returns:
        Two `torch.Tensor` of shape `(batch,)`: log10 distance, magnitude distance.
    """
    ours = filters @ magnitude(estimate.stft(window_length), MIN_MEL_POWER)  # (batch, channels, mels, time)
    theirs = filters @ magnitude(target.stft(window_length), MIN_MEL_POWER)
    log_difference = power * (ours.clamp(min=floor).log10() - theirs.clamp(min=floor).log10())
    return log_difference.abs().mean(dim=(1, 2, 3)), (ours - theirs).abs().mean(dim=(1, 2, 3))
