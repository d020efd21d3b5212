"""Encoder and decoder between waveforms and latents, with ConvNeXt blocks on the frames of an STFT."""

from typing import Any

from torch import nn

from hf_audio_vae.modules.convnext import ChannelNorm, ConvNeXtBlock, PointwiseConv1d
from hf_audio_vae.modules.convolution import WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.modules.short_time import STFT, InverseSTFT
from hf_audio_vae.modules.stack import CheckpointedStack, Stack


class ShortTimeStage(Stack):
    """A change of rate or channels, and ConvNeXt blocks; (batch, in_channels, time) -> (batch, channels, time')."""

    def __init__(
        self, first: nn.Module, channels: int, blocks: int, *, kernel_size: int, expansion: float, causal: bool
    ) -> None:
        super().__init__()
        self.first = first
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(channels, kernel_size=kernel_size, expansion=expansion, causal=causal) for _ in range(blocks)
        )

    def layers(self) -> tuple[nn.Module, ...]:
        return self.first, *self.blocks


class ShortTimeEncoder(CheckpointedStack):
    """(batch, audio_channels, frames * hop_length) -> (batch, out_channels, frames).

    Args:
        ratios (`tuple[int, ...]`): Hop of the STFT, then the strides between the stages.
        widths (`tuple[int, ...]`): Channels of each stage.
        blocks (`tuple[int, ...]`): ConvNeXt blocks of each stage.
        audio_channels (`int`): Channels of the waveform.
        out_channels (`int`): Channels of the output.
        window_length (`int`): Samples per window.
        exponent (`float`): Exponent of compressed magnitudes.
        kernel_size (`int`): Taps of the depthwise convolutions.
        expansion (`float`): Hidden channels of a block, in units of its channels.
        causal (`bool`): Convolutions read no later frames.
    """

    def __init__(
        self,
        ratios: tuple[int, ...],
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        *,
        audio_channels: int,
        out_channels: int,
        window_length: int,
        exponent: float,
        kernel_size: int,
        expansion: float,
        causal: bool,
    ) -> None:
        super().__init__()
        self.stft = STFT(window_length, ratios[0], exponent)
        inputs = audio_channels * 2 * (window_length // 2 + 1)
        firsts: list[nn.Module] = [PointwiseConv1d(inputs, widths[0])]
        for before, after, stride in zip(widths, widths[1:], ratios[1:], strict=False):
            firsts.append(WeightNormConv1d(before, after, 2 * stride, stride=stride, causal=causal))
        options: dict[str, Any] = {"kernel_size": kernel_size, "expansion": expansion, "causal": causal}
        self.stages = nn.ModuleList(map(lambda *parts: ShortTimeStage(*parts, **options), firsts, widths, blocks))
        self.norm = ChannelNorm(widths[-1])
        self.project = PointwiseConv1d(widths[-1], out_channels)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return self.stft, *self.stages, self.norm, self.project


class ShortTimeDecoder(CheckpointedStack):
    """(batch, in_channels, frames) -> (batch, audio_channels, frames * hop_length); arguments as the encoder's."""

    def __init__(
        self,
        ratios: tuple[int, ...],
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        *,
        audio_channels: int,
        in_channels: int,
        window_length: int,
        exponent: float,
        kernel_size: int,
        expansion: float,
        causal: bool,
    ) -> None:
        super().__init__()
        widths, strides = widths[::-1], ratios[:0:-1]
        firsts: list[nn.Module] = [PointwiseConv1d(in_channels, widths[0])]
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            firsts.append(WeightNormConvTranspose1d(before, after, stride=stride, causal=causal))
        options: dict[str, Any] = {"kernel_size": kernel_size, "expansion": expansion, "causal": causal}
        self.stages = nn.ModuleList(
            map(lambda *parts: ShortTimeStage(*parts, **options), firsts, widths, blocks[::-1])
        )
        self.norm = ChannelNorm(widths[-1])
        inverse = InverseSTFT(window_length, ratios[0], exponent, audio_channels=audio_channels)
        self.project = PointwiseConv1d(widths[-1], inverse.in_channels)
        self.inverse_stft = inverse

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return *self.stages, self.norm, self.project, self.inverse_stft
