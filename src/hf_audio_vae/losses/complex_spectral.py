"""Distances of complex spectra: unlike distances of magnitudes, they depend on the phase."""

import torch
from torch import Tensor, nn

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import magnitude

MIN_POWER = 1e-6  # of an orthonormal transform: -60 dB below a sample of 1


class ComplexSTFTLoss(nn.Module):
    """Mean of ``|X - Y| / |Y| ** (1 - exponent)`` over orthonormal spectra X of the estimate and Y of the target.

    With an exponent of 1, this is the distance of complex spectra, which loud bins dominate. A smaller exponent
    weights each bin by its magnitude, as distances of compressed spectra do (Ephrat et al., arXiv:1804.03619), and is
    cheaper. Computed in float32; finite on silence.

    Args:
        window_lengths (`tuple[int, ...]`): Lengths of the Hann windows in samples; the hop is a quarter.
        exponent (`float`): Exponent of the target's magnitude, in (0, 1].
    """

    def __init__(self, *, window_lengths: tuple[int, ...] = (1024, 256), exponent: float = 0.5) -> None:
        super().__init__()
        if not 0 < exponent <= 1:
            raise ValueError(f"`exponent` is {exponent}; use a number above 0, up to 1 for no compression.")
        self.window_lengths, self.exponent = tuple(window_lengths), exponent

    def forward(self, estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar; `Spectra` share transforms."""
        ours, theirs = Spectra.of(estimate), Spectra.of(target)
        with torch.autocast(ours.waveform.device.type, enabled=False):
            distances = [self._distance(ours.stft(n), theirs.stft(n), n) for n in self.window_lengths]
        return torch.stack(distances).mean()

    def _distance(self, estimate: Tensor, target: Tensor, window_length: int) -> Tensor:
        least = (
            window_length * MIN_POWER
        )  # `Spectra` are not orthonormal: their power is `window_length` times as large
        weight = magnitude(target, least) ** (self.exponent - 1)
        scale = window_length ** (-self.exponent / 2)
        return scale * (magnitude(estimate - target, 1e-6 * least) * weight).mean()


class PhaseDerivativeLoss(nn.Module):
    """Distance of instantaneous frequency and group delay, the derivatives of the phase over time and frequency.

    The distance of two angles is 1 - cos of their difference, averaged with the target's magnitudes as weights, as in
    "eps-ar-VAE" (arXiv:2509.14912). It does not depend on a constant phase. Computed in float32; finite on silence.

    Args:
        window_lengths (`tuple[int, ...]`): Lengths of the Hann windows in samples; the hop is a quarter.
    """

    def __init__(self, *, window_lengths: tuple[int, ...] = (1024, 256)) -> None:
        super().__init__()
        self.window_lengths = tuple(window_lengths)

    def forward(self, estimate: Tensor | Spectra, target: Tensor | Spectra) -> Tensor:
        """(batch, audio_channels, time) twice -> scalar; `Spectra` share transforms."""
        ours, theirs = Spectra.of(estimate), Spectra.of(target)
        with torch.autocast(ours.waveform.device.type, enabled=False):
            distances = [
                _angle_distance(_product(ours.stft(n), dim), _product(theirs.stft(n), dim), n)
                for n in self.window_lengths
                for dim in (-1, -2)  # frames, bins
                if theirs.stft(n).shape[dim] > 1
            ]
        return torch.stack(distances).mean()


def _product(spectra: Tensor, dim: int) -> Tensor:
    """Product of each value and the conjugate of the one before; its angle is the difference of their phases."""
    length = spectra.shape[dim] - 1
    return spectra.narrow(dim, 1, length) * spectra.narrow(dim, 0, length).conj()


def _angle_distance(estimate: Tensor, target: Tensor, window_length: int) -> Tensor:
    """Mean of 1 - cos of the angle between complex values, weighted by the square root of the target's magnitude."""
    floor = window_length * MIN_POWER
    theirs = magnitude(target, floor**2)
    cosine = (estimate * target.conj()).real / (magnitude(estimate, floor**2) * theirs)
    weight = (theirs - floor).sqrt()  # zero for silence. A product's magnitude is the square of a spectrum's.
    return (weight * (1 - cosine)).sum() / weight.sum().clamp_min(floor)
