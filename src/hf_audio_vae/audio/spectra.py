import torch
from torch import Tensor

from hf_audio_vae.audio.spectrogram import hann_window, stft


class Spectra:
    """A waveform and its cached short-time spectra: each is computed once and shared by all distances.

    Computed in float32 or higher precision, for any waveform dtype.

    Args:
        waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Signal, any time >= 1.

    Example:
        >>> spectra = Spectra(torch.randn(1, 2, 1000))
        >>> spectra.stft(64).shape, spectra.stft(64) is spectra.stft(64)
        (torch.Size([1, 2, 33, 63]), True)
    """

    def __init__(self, waveform: Tensor) -> None:
        self.waveform = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
        self._spectra: dict[int, Tensor] = {}

    @classmethod
    def of(cls, signal: "Tensor | Spectra") -> "Spectra":
        """Wrap a waveform; `Spectra` are returned unchanged."""
        return signal if isinstance(signal, Spectra) else cls(signal)

    def stft(self, window_length: int) -> Tensor:
        """Complex (batch, audio_channels, window_length // 2 + 1, frames): Hann window, hop of a quarter of it."""
        if window_length not in self._spectra:
            self._spectra[window_length] = self._transform(window_length)
        return self._spectra[window_length]

    def mid_side(self) -> "MidSideSpectra":
        """Sum and difference of a stereo waveform, computed from its spectra without further transforms.

        Raises:
            ValueError: The waveform does not have two channels.
        """
        # Not cached: the reference cycle would keep every spectrum until the garbage collector runs.
        return MidSideSpectra(self)

    def _transform(self, window_length: int) -> Tensor:
        window = hann_window(window_length, self.waveform.device)
        with torch.autocast(self.waveform.device.type, enabled=False):
            return stft(self.waveform, window.to(self.waveform.dtype), max(window_length // 4, 1))


class MidSideSpectra(Spectra):
    """Spectra of left + right and left - right, computed as sum and difference of the stereo spectra."""

    def __init__(self, stereo: Spectra) -> None:
        super().__init__(_sum_and_difference(stereo.waveform))
        self._stereo = stereo

    def _transform(self, window_length: int) -> Tensor:
        return _sum_and_difference(self._stereo.stft(window_length))


def _sum_and_difference(stereo: Tensor) -> Tensor:
    """(batch, 2, ...) -> same."""
    if stereo.shape[1] != 2:
        raise ValueError(f"`mid_side` needs stereo, got {stereo.shape[1]} channels; leave it off for this model.")
    left, right = stereo.unbind(dim=1)
    return torch.stack((left + right, left - right), dim=1)
