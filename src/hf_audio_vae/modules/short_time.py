"""Short-time Fourier transform and its inverse as layers: complex spectra of frames as real channels.

`frames * hop_length` samples in, exactly `frames` spectra out, and back. `torch.istft` requires centred frames, of
which there is one more, and refuses windows whose squares overlap incompletely at the ends of the signal.
"""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.audio.spectrogram import hann_window
from hf_audio_vae.modules.alignment import Alignment

MIN_MAGNITUDE = 1e-6  # of an orthonormal transform; compression is linear below


class ShortTimeLayer(nn.Module):
    """Hann windows of `window_length` samples, `hop_length` apart, centred on their hop.

    Args:
        window_length (`int`): Samples per window, at least 2 hops.
        hop_length (`int`): Samples per frame.
        exponent (`float`): Exponent of compressed magnitudes, in (0, 1].

    Raises:
        ValueError: The window is too short, or the exponent is out of range.
    """

    def __init__(self, window_length: int, hop_length: int, exponent: float) -> None:
        super().__init__()
        if hop_length < 1 or window_length < 2 * hop_length:
            raise ValueError(
                f"`window_length` is {window_length} and `hop_length` {hop_length}; use a window of two or more "
                f"hops, so that overlapping windows can be inverted."
            )
        if not 0 < exponent <= 1:
            raise ValueError(f"`exponent` is {exponent}; use a number above 0, up to 1 for no compression.")
        self.exponent = exponent
        self.alignment = Alignment(window_length, hop_length, 1, left=(window_length - hop_length) // 2)

    def extra_repr(self) -> str:
        return (
            f"window_length={self.alignment.kernel_size}, hop_length={self.alignment.stride}, exponent={self.exponent}"
        )

    def window(self, like: Tensor) -> Tensor:
        """(window_length,), in at least float32."""
        return hann_window(self.alignment.kernel_size, like.device).to(torch.promote_types(like.dtype, torch.float32))


class STFT(ShortTimeLayer):
    """(batch, audio_channels, frames * hop_length) -> (batch, audio_channels * 2 * bins, frames).

    The transform is orthonormal. A magnitude m becomes m ** exponent; the phase stays. Channels are ordered by audio
    channel, bin, and real and imaginary part.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.transform(self.alignment.pad(x))

    def transform(self, padded: Tensor) -> Tensor:
        """Transform a signal with its padding."""
        with torch.autocast(padded.device.type, enabled=False):
            parts = torch.view_as_real(self.spectra(padded))
            parts = parts * _magnitude(parts, MIN_MAGNITUDE) ** (self.exponent - 1)
        # (batch, audio_channels, frames, bins, 2) -> (batch, audio_channels * bins * 2, frames)
        return parts.transpose(1, 2).flatten(2).transpose(1, 2).to(padded.dtype)

    def spectra(self, padded: Tensor) -> Tensor:
        """Complex spectra of a signal with its padding, not compressed; (batch, audio_channels, frames, bins)."""
        window = self.window(padded)
        frames = padded.to(window.dtype).unfold(-1, len(window), self.alignment.stride)
        return torch.fft.rfft(frames * window, norm="ortho")

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


class InverseSTFT(ShortTimeLayer):
    """(batch, audio_channels * 2 * bins, frames) -> (batch, audio_channels, frames * hop_length); inverts `STFT`."""

    def __init__(self, window_length: int, hop_length: int, exponent: float, *, audio_channels: int) -> None:
        super().__init__(window_length, hop_length, exponent)
        self.audio_channels = audio_channels

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.audio_channels * 2 * (self.alignment.kernel_size // 2 + 1)

    def forward(self, x: Tensor) -> Tensor:
        left, frames = self.alignment.left, x.shape[-1]
        signal, weight = self.overlap_add(x)
        inside = slice(left, left + frames * self.alignment.stride)
        return (signal[..., inside] / weight[inside]).to(x.dtype)

    def overlap_add(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of windowed frames, (batch, audio_channels, time), and of squared windows, (time,).

        `time` is `(frames - 1) * hop_length + window_length`.
        """
        window = self.window(x)
        with torch.autocast(x.device.type, enabled=False):
            parts = x.to(window.dtype).transpose(1, 2).unflatten(2, (self.audio_channels, -1, 2)).transpose(1, 2)
            parts = parts * _magnitude(parts, MIN_MAGNITUDE**self.exponent) ** (1 / self.exponent - 1)
            frames = torch.fft.irfft(torch.view_as_complex(parts.contiguous()), n=len(window), norm="ortho") * window
            squared = window.square().expand(x.shape[-1], -1)
            return self._overlap(frames), self._overlap(squared)

    def _overlap(self, frames: Tensor) -> Tensor:
        """(..., frames, window_length) -> (..., (frames - 1) * hop_length + window_length)."""
        missing = -frames.shape[-1] % self.alignment.stride  # samples of the last hop of a window
        whole = F.pad(frames, (0, missing))
        hops = whole.unflatten(-1, (-1, self.alignment.stride)).unbind(-2)  # each (..., frames, hop_length)
        last = len(hops) - 1
        delayed = (F.pad(hop, (0, 0, delay, last - delay)) for delay, hop in enumerate(hops))
        sums = reduce(torch.add, delayed).flatten(-2)
        return sums[..., : sums.shape[-1] - missing]

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        hop, left, reach = self.alignment.stride, self.alignment.left, self.alignment.reach
        return (start + left - reach) // hop + 1, (stop - 1 + left) // hop + 1


def _magnitude(parts: Tensor, least: float) -> Tensor:
    """(..., 2) -> (..., 1), at least `least`; the gradient is zero below."""
    return parts.square().sum(dim=-1, keepdim=True).clamp_min(least**2).sqrt()
