"""Layers on spectrograms, (batch, channels, bins, frames): time is the last dimension, as in all layers."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.audio.spectrogram import magnitude, mel_filters
from hf_audio_vae.modules.alignment import Alignment
from hf_audio_vae.modules.short_time import STFT, InverseSTFT
from hf_audio_vae.modules.stack import Residual, Stack

MIN_MEL = 1e-5  # of a magnitude; HiFi-GAN's vocoders clamp here before the logarithm
MIN_MEL_POWER = 1e-20  # of a bin of an orthonormal transform; keeps gradients finite


class SpectrogramConv2d(nn.Conv2d):
    """Convolution with zero padding; (batch, in, bins, frames) -> (batch, out, bins / stride, frames / stride').

    Bins and frames have to be multiples of their strides. Bins are padded on both sides, frames also, or only on the
    left if `causal`. The larger half of an odd padding is on the right.

    Args:
        in_channels (`int`): Channels of the input.
        out_channels (`int`): Channels of the output.
        kernel_size (`tuple[int, int]`): Taps over bins and over frames.
        strides (`tuple[int, int]`): Inputs per output, over bins and over frames.
        causal (`bool`): Outputs read no later frames than those of their stride.
        bias (`bool`): Add a bias per channel.
        lead (`int`): Frames by which the padding moves from the right to the left.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int] = (3, 3),
        *,
        strides: tuple[int, int] = (1, 1),
        causal: bool = False,
        bias: bool = True,
        lead: int = 0,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, strides, bias=bias)
        paddings = [taps - stride for taps, stride in zip(kernel_size, strides, strict=True)]
        self.bins = Alignment(kernel_size[0], strides[0], 1, left=paddings[0] // 2)
        left = (paddings[1] if causal else paddings[1] // 2) + lead
        self.alignment = Alignment(kernel_size[1], strides[1], 1, left=left)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(self.alignment.pad(x))

    def convolve(self, padded: Tensor) -> Tensor:
        """Convolve a spectrogram with its padding over frames."""
        padded = F.pad(padded, (0, 0, self.bins.left, self.bins.right))
        return F.conv2d(padded, self.weight, self.bias, self.stride)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


class Repeat2d(nn.Module):
    """Repeat bins and frames; (batch, channels, bins, frames) -> (batch, channels, bins * ratio, frames * ratio')."""

    def __init__(self, ratios: tuple[int, int]) -> None:
        super().__init__()
        self.ratios = ratios

    def extra_repr(self) -> str:
        return f"ratios={self.ratios}"

    def forward(self, x: Tensor) -> Tensor:
        bins, frames = self.ratios
        return x[..., None, :, None].expand(*x.shape[:3], bins, x.shape[3], frames).flatten(2, 3).flatten(3)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return start // self.ratios[1], (stop - 1) // self.ratios[1] + 1


class PositionNorm(nn.Module):
    """Divide by the root mean square of the channels at each bin and frame; (batch, channels, bins, frames) -> same.

    Pixel norm (Karras et al., arXiv:1710.10196). Frames stay independent, unlike with group norm.
    """

    def forward(self, x: Tensor) -> Tensor:
        power = x.to(torch.promote_types(x.dtype, torch.float32)).square().mean(dim=1, keepdim=True)
        return x * (power + 1e-6).rsqrt().to(x.dtype)


class ResidualBlock2d(Residual):
    """Twice norm, SiLU and convolution, plus the input; (batch, in_channels, bins, frames) -> (batch, out, ...)."""

    def __init__(self, in_channels: int, out_channels: int, *, causal: bool) -> None:
        super().__init__()
        self.norm = PositionNorm()
        self.activation = nn.SiLU()
        self.conv1 = SpectrogramConv2d(in_channels, out_channels, causal=causal)
        self.conv2 = SpectrogramConv2d(out_channels, out_channels, causal=causal)
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else SpectrogramConv2d(in_channels, out_channels, (1, 1))

    def branch(self) -> tuple[nn.Module, ...]:
        return self.norm, self.activation, self.conv1, self.norm, self.activation, self.conv2


class BatchNormBlock2d(Stack):
    """Convolution, batch norm and ReLU; (batch, in_channels, bins, frames) -> (batch, out_channels, bins, frames)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = SpectrogramConv2d(in_channels, out_channels, bias=False)  # the norm has one
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU()

    def layers(self) -> tuple[nn.Module, ...]:
        return self.conv, self.norm, self.activation


class Upsampling2d(Stack):
    """Repetition, then a convolution; (batch, in_channels, bins, frames) -> (batch, out, bins * ratio, ...).

    Args:
        in_channels (`int`): Channels of the input.
        out_channels (`int`): Channels of the output.
        strides (`tuple[int, int]`): Outputs per input, over bins and over frames.
        causal (`bool`): Outputs read no later frames than their own.
        ahead (`bool`): Outputs of a causal layer are moved to earlier frames, by one less than the stride.
    """

    def __init__(
        self, in_channels: int, out_channels: int, strides: tuple[int, int], *, causal: bool, ahead: bool = False
    ) -> None:
        super().__init__()
        self.repeat = Repeat2d(strides)
        lead = 1 - strides[1] if ahead else 0
        self.conv = SpectrogramConv2d(in_channels, out_channels, kernel_of(strides), causal=causal, lead=lead)

    def layers(self) -> tuple[nn.Module, ...]:
        return self.repeat, self.conv


def kernel_of(strides: tuple[int, int]) -> tuple[int, int]:
    """Return the odd numbers of taps that cover a stride and parts of its neighbours."""
    return max(3, 2 * strides[0] - 1), max(3, 2 * strides[1] - 1)


class ComplexSpectrogram(Stack):
    """STFT; (batch, audio_channels, frames * hop_length) -> (batch, 2 * audio_channels, padded_bins, frames).

    Channels are the real and imaginary part of each audio channel, with compressed magnitudes (`STFT`). Bins above the
    last are 0.
    """

    def __init__(
        self, window_length: int, hop_length: int, exponent: float, *, audio_channels: int, padded_bins: int
    ) -> None:
        super().__init__()
        self.stft = STFT(window_length, hop_length, exponent)
        self.spread = SpreadParts(audio_channels, padded_bins - (window_length // 2 + 1))

    def layers(self) -> tuple[nn.Module, ...]:
        return self.stft, self.spread


class InverseComplexSpectrogram(Stack):
    """(batch, 2 * audio_channels, bins, frames) -> (batch, audio_channels, frames * hop_length)."""

    def __init__(self, window_length: int, hop_length: int, exponent: float, *, audio_channels: int) -> None:
        super().__init__()
        self.gather = GatherParts()
        self.inverse_stft = InverseSTFT(window_length, hop_length, exponent, audio_channels=audio_channels)

    def layers(self) -> tuple[nn.Module, ...]:
        return self.gather, self.inverse_stft


class LogMelSpectrogram(nn.Module):
    """Logarithm of mel spectra; (batch, audio_channels, frames * hop_length) -> (batch, audio_channels, bins, frames).

    As HiFi-GAN (Kong et al., arXiv:2010.05646): magnitudes of Hann windows centred on their hop, filters of equal area
    on the Slaney mel scale, natural logarithm of at least `MIN_MEL`. HiFi-GAN mirrors the signal at its ends
    (`pad_mode="reflect"`, else zeros) and adds 1e-9 to the power of each bin of the transform (`power_offset`).
    """

    def __init__(
        self,
        window_length: int,
        hop_length: int,
        mel_bins: int,
        *,
        sampling_rate: int,
        min_frequency_hz: float,
        max_frequency_hz: float,
        pad_mode: str = "constant",
        power_offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.stft = STFT(window_length, hop_length, 1.0)
        self.alignment = replace(self.stft.alignment, mirrored=pad_mode == "reflect")
        self.power_offset = power_offset
        self.filter_options = (mel_bins, window_length, sampling_rate, min_frequency_hz, max_frequency_hz)

    def filters(self, like: Tensor) -> Tensor:
        """(mel_bins, window_length // 2 + 1), in at least float32."""
        return _mel_filters(*self.filter_options, like.device).to(torch.promote_types(like.dtype, torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        return self.transform(self.alignment.pad(x))

    def transform(self, padded: Tensor) -> Tensor:
        """Transform a signal with its padding."""
        with torch.autocast(padded.device.type, enabled=False):
            filters = self.filters(padded)
            spectra = self.stft.spectra(padded)  # (batch, audio_channels, frames, bins)
            scaled = magnitude(spectra, MIN_MEL_POWER) * self.alignment.kernel_size**0.5  # without orthonormal scaling
            if self.power_offset:
                scaled = (scaled.square() + self.power_offset).sqrt()
            mel = (scaled @ filters.T).clamp_min(MIN_MEL).log()
        return mel.transpose(2, 3).to(padded.dtype)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


@torch.compiler.assume_constant_result  # compilers cannot look into its cache
def _mel_filters(
    mel_bins: int, window_length: int, sampling_rate: int, lowest_hz: float, highest_hz: float, device: torch.device
) -> Tensor:
    return mel_filters(mel_bins, window_length, sampling_rate, lowest_hz, highest_hz, device=device)


class FrameClock(nn.Module):
    """Returns its input; later layers count its frames in samples, `hop_length` a frame."""

    def __init__(self, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length

    def forward(self, x: Tensor) -> Tensor:
        return x

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return start // self.hop_length, (stop - 1) // self.hop_length + 1


class CropBins(nn.Module):
    """Keep the first bins; (batch, channels, padded_bins, frames) -> (batch, channels, bins, frames)."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : self.bins]


class FlattenBins(nn.Flatten):
    """(batch, channels, bins, frames) -> (batch, channels * bins, frames), ordered by channel."""

    def __init__(self) -> None:
        super().__init__(1, 2)

    def forward(self, input: Tensor) -> Tensor:
        # In torch 2.13, flattening a single bin would limit the lengths of an exported graph.
        return input.squeeze(2) if input.shape[2] == 1 else super().forward(input)


class UnflattenBins(nn.Unflatten):
    """(batch, channels * bins, frames) -> (batch, channels, bins, frames)."""

    def __init__(self, channels: int, bins: int) -> None:
        super().__init__(1, (channels, bins))


class SpreadParts(nn.Module):
    """(batch, audio_channels * bins * 2, frames) -> (batch, audio_channels * 2, bins + padding, frames)."""

    def __init__(self, audio_channels: int, padding: int) -> None:
        super().__init__()
        self.audio_channels, self.padding = audio_channels, padding

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(1, (self.audio_channels, -1, 2)).transpose(2, 3).flatten(1, 2)
        return F.pad(parts, (0, 0, 0, self.padding))


class GatherParts(nn.Module):
    """(batch, audio_channels * 2, bins, frames) -> (batch, audio_channels * bins * 2, frames)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, 2)).transpose(2, 3).flatten(1, 3)
