"""Checks of the four-dimensional inputs of a `SpectrogramVAE`; each error names the wrong value and a remedy."""

from torch import Tensor

from hf_audio_vae.models.inputs import check_finite, check_tensor


def check_spectrogram(spectrogram: Tensor, channels: int, bins: int) -> None:
    """Raise `ValueError` unless it is a finite float (batch, spectrogram_channels, frames, bins), frames >= 1."""
    _check_layout(spectrogram, "waveform", "(batch, audio_channels, time)", channels, bins)


def check_spatial_latents(latents: Tensor, channels: int, bins: int) -> None:
    """Raise `ValueError` unless they are finite floats (batch, latent_channels, frames, latent_bins), frames >= 1."""
    _check_layout(latents, "latents", "(batch, channels, frames)", channels, bins)


def _check_layout(tensor: Tensor, name: str, other_layout: str, channels: int, bins: int) -> None:
    check_tensor(tensor, name)
    if tensor.shape[1] != channels or tensor.shape[3] != bins:
        remedy = "transpose the last two" if tensor.shape[2] == bins else "add, merge or transpose"
        raise ValueError(
            f"`{name}` has shape {tuple(tensor.shape)}, expected (batch, {channels}, frames, {bins}), or "
            f"{other_layout}; {remedy} dimensions."
        )
    check_finite(tensor, name)
