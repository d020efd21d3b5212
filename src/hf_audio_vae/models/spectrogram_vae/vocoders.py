"""From mel spectrograms to waveforms, behind one interface: `Vocoder`."""

from typing import Protocol

import torch
from torch import Tensor

from hf_audio_vae.modules.short_time import STFT, InverseSTFT
from hf_audio_vae.modules.spectrogram import LogMelSpectrogram

ITERATIONS = 32
MOMENTUM = 0.99  # Perraudin et al., section 4: fast and stable
FIT_ITERATIONS = 20
SMALLEST = 1e-8  # magnitude; keeps quotients finite


class Vocoder(Protocol):
    """Synthesis of waveforms from logarithmic mel spectrograms of the same bins, rate and hop."""

    @property
    def mel_bins(self) -> int:
        """Bins of a spectrum."""

    @property
    def sampling_rate(self) -> int:
        """Samples per second, in Hz."""

    @property
    def hop_length(self) -> int:
        """Samples per frame."""

    def __call__(self, mel: Tensor) -> Tensor:
        """(batch, audio_channels, frames, mel_bins) -> (batch, audio_channels, frames * hop_length)."""


class GriffinLim:
    """Waveforms with given mel spectra, by alternating projections; deterministic and without weights.

    The magnitudes are the nonnegative ones whose mel spectra are nearest, by multiplicative updates (Lee & Seung,
    2001). The phases start at those of sinusoids at the centres of the bins and are found by the method of Griffin &
    Lim (1984) in the fast version of Perraudin et al. (2013). No gradients are recorded.

    Args:
        spectrogram (`LogMelSpectrogram`): The layer that it inverts.
        iterations (`int`): Number of projections.

    Example:
        >>> spectrogram = LogMelSpectrogram(
        ...     256, 64, 40, sampling_rate=8000, min_frequency_hz=0, max_frequency_hz=4000
        ... )
        >>> mel = spectrogram(torch.sin(torch.arange(6400.0))[None, None])
        >>> GriffinLim(spectrogram)(mel.mT).shape
        torch.Size([1, 1, 6400])
    """

    def __init__(self, spectrogram: LogMelSpectrogram, iterations: int | None = None) -> None:
        self.spectrogram = spectrogram
        self.iterations = ITERATIONS if iterations is None else iterations
        self.mel_bins, _, self.sampling_rate, *_ = spectrogram.filter_options
        window_length, self.hop_length = spectrogram.alignment.kernel_size, spectrogram.alignment.stride
        self._stft = STFT(window_length, self.hop_length, 1.0)
        self._inverse = InverseSTFT(window_length, self.hop_length, 1.0, audio_channels=1)

    @torch.no_grad()
    def __call__(self, mel: Tensor) -> Tensor:
        """As `Vocoder`."""
        wide = mel.to(torch.promote_types(mel.dtype, torch.float32)).flatten(0, 1)
        with torch.autocast(mel.device.type, enabled=False):
            magnitude = self._magnitude(wide.exp())  # (batch * audio_channels, frames, bins)
            target = torch.polar(magnitude, self._first_phase(magnitude))
            before = target
            for _ in range(self.iterations):
                consistent = self._spectra(self._waveform(target))
                ahead = consistent + MOMENTUM * (consistent - before)
                target = ahead * (magnitude / ahead.abs().clamp_min(SMALLEST))
                before = consistent
            return self._waveform(target).unflatten(0, mel.shape[:2]).squeeze(2).to(mel.dtype)

    def _magnitude(self, mel: Tensor) -> Tensor:
        """(..., mel_bins) -> (..., bins), of an orthonormal transform."""
        filters = self.spectrogram.filters(mel)
        magnitude = (mel @ torch.linalg.pinv(filters).T).clamp_min(SMALLEST)
        for _ in range(FIT_ITERATIONS):
            fitted = (magnitude @ filters.T) @ filters
            magnitude = magnitude * ((mel @ filters) / fitted.clamp_min(SMALLEST))
        return magnitude / self._stft.alignment.kernel_size**0.5

    def _first_phase(self, magnitude: Tensor) -> Tensor:
        """Phase of a sinusoid at the centre of each bin, in radians; (..., frames, bins)."""
        frames, bins = magnitude.shape[-2:]
        turns = torch.arange(bins, dtype=magnitude.dtype, device=magnitude.device) * (
            self.hop_length / self._stft.alignment.kernel_size
        )
        frame = torch.arange(frames, dtype=magnitude.dtype, device=magnitude.device)
        return (2 * torch.pi * ((frame[:, None] * turns) % 1)).expand(magnitude.shape)

    def _waveform(self, spectra: Tensor) -> Tensor:
        """(batch, frames, bins) -> (batch, 1, time)."""
        parts: Tensor = self._inverse(torch.view_as_real(spectra).flatten(2).transpose(1, 2))
        return parts

    def _spectra(self, waveform: Tensor) -> Tensor:
        """(batch, 1, time) -> (batch, frames, bins)."""
        return self._stft.spectra(self._stft.alignment.pad(waveform)).squeeze(1)


def check_vocoder(vocoder: Vocoder, *, mel_bins: int, sampling_rate: int, hop_length: int) -> None:
    """Raise `ValueError` unless a vocoder takes the mel spectrograms of a model."""
    model = {"mel_bins": mel_bins, "sampling_rate": sampling_rate, "hop_length": hop_length}
    own = {name: getattr(vocoder, name) for name in model}
    if own != model:
        raise ValueError(
            f"the vocoder takes {_described(own)}, the model decodes {_described(model)}; use a vocoder with the "
            f"model's mel settings."
        )


def _described(settings: dict[str, int]) -> str:
    return ", ".join(f"`{name}` {value}" for name, value in settings.items())
