"""Encoders and decoders of one or several levels, and packing of levels into one signal at the coarsest rate."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.modules.dilated import DownsamplingBlock, StridedConv1d, UpsamplingBlock
from hf_audio_vae.modules.quantization import VectorQuantizer
from hf_audio_vae.modules.stack import span_through

Levels = list[Tensor]


class LevelEncoder(nn.Module):
    """A sequence of blocks; (batch, audio_channels, time) -> the outputs of the blocks from `first` on, finest first.

    Args:
        blocks (`Iterable[DownsamplingBlock]`): One per level, beginning at the waveform.
        first (`int`): The first block whose output is a level's latents.
    """

    blocks: Any  # nn.ModuleList of DownsamplingBlock

    def __init__(self, blocks: Iterable[DownsamplingBlock], first: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.first = first
        self.levels = slice(first, len(self.blocks))

    def forward(self, x: Tensor) -> Levels:
        """Return (batch, channels, frames) of each of these blocks."""
        levels = []
        for level, block in enumerate(self.blocks):
            x = block(x)
            if level >= self.first:
                levels.append(x)
        return levels

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the samples that the last block's frames [start, stop) read; they cover those of earlier blocks."""
        return span_through(self.blocks, start, stop)


class LevelDecoder(nn.Module):
    """A sequence of blocks from a level to the waveform; latents -> (batch, audio_channels, time).

    The inputs are the latents of the decoder's own level, or those of all levels down to the finest, finest first.
    Each finer level is added after the block that reaches its rate.

    Args:
        blocks (`Iterable[UpsamplingBlock]`): One per level, finest first; they run in reverse order.
        channels (`int`): Channels between blocks.
        audio_channels (`int`): Channels of the waveform.
    """

    blocks: Any  # nn.ModuleList of UpsamplingBlock

    def __init__(self, blocks: Iterable[UpsamplingBlock], channels: int, audio_channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.conv_out = StridedConv1d(channels, audio_channels, 3)

    def forward(self, levels: Levels) -> Tensor:
        """Return the waveform."""
        *finer, x = levels
        for index in reversed(range(len(self.blocks))):
            x = self.blocks[index](x)
            if finer and index:
                x = x + finer[index - 1]
        return self.conv_out(x)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Frames of the decoder's own level that the samples [start, stop) read; they cover those of finer levels."""
        return span_through(self.level_layers(), start, stop)

    def level_layers(self) -> tuple[nn.Module, ...]:
        """Return the layers that the decoder's own level runs through, in order."""
        return (*reversed(self.blocks), self.conv_out)


def level_encoder(config: HierarchicalVQVAEConfig, level: int | None) -> LevelEncoder:
    """Make the encoder of one level, or of all."""
    last = len(config.strides) - 1 if level is None else level
    blocks = []
    for index in range(last + 1):
        channels = config.hidden_size if index else config.audio_channels
        sizes = _sizes(config, index, config.level_multipliers[index if level is None else level])
        blocks.append(DownsamplingBlock(channels, config.hidden_size, **sizes))
    return LevelEncoder(blocks, first=0 if level is None else level)


def level_decoder(config: HierarchicalVQVAEConfig, level: int) -> LevelDecoder:
    """Make the decoder of one level."""
    multiplier, reverse = config.level_multipliers[level], config.reverse_decoder_dilation
    blocks = [
        UpsamplingBlock(config.hidden_size, **_sizes(config, index, multiplier, reverse=reverse))
        for index in range(level + 1)
    ]
    return LevelDecoder(blocks, config.hidden_size, config.audio_channels)


def _sizes(config: HierarchicalVQVAEConfig, index: int, multiplier: int, *, reverse: bool = False) -> dict[str, Any]:
    """Return the sizes of block `index` in an encoder or decoder with this multiplier."""
    width, depth = config.width * multiplier, config.depth * multiplier
    cycle = config.dilation_cycle or depth
    dilations = tuple(config.dilation_growth ** (unit % cycle) for unit in range(depth))
    return {
        "width": width,
        "stride": config.strides[index],
        "count": config.downsampling_counts[index],
        "unit_width": int(config.unit_expansion * width),
        "dilations": dilations[::-1] if reverse else dilations,
    }


def pack(levels: Sequence[Tensor], ratios: tuple[int, ...]) -> Tensor:
    """Stack the values of each frame along the channels; (batch, c, frames * ratio) each -> (batch, all, frames)."""
    # (batch, c, frames * ratio) -> (batch, c, frames, ratio) -> (batch, c, ratio, frames), then c and ratio are merged
    flat = [x.unflatten(2, (-1, ratio)).transpose(2, 3).flatten(1, 2) for x, ratio in zip(levels, ratios, strict=True)]
    return torch.cat(flat, dim=1)


def unpack(packed: Tensor, ratios: tuple[int, ...]) -> Levels:
    """Undo `pack`, for levels with equal channels."""
    channels = packed.shape[1] // sum(ratios)
    flat = packed.split([channels * ratio for ratio in ratios], dim=1)
    return [
        x.unflatten(1, (channels, ratio)).transpose(2, 3).flatten(2) for x, ratio in zip(flat, ratios, strict=True)
    ]


def quantize(latents: Sequence[Tensor], quantizers: Sequence[VectorQuantizer]) -> Levels:
    """Return the codes of latents, level by level."""
    return [quantizer.encode(z) for quantizer, z in zip(quantizers, latents, strict=True)]


def dequantize(codes: Sequence[Tensor], quantizers: Sequence[VectorQuantizer]) -> Levels:
    """Return the vectors of codes, level by level."""
    return [quantizer.decode(level) for quantizer, level in zip(quantizers, codes, strict=True)]
