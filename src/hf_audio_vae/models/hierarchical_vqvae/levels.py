"""Encoders and decoders of one or several levels, and their exact coding in chunks of the coarsest level's frames."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hf_audio_vae.audio.framing import frame_count
from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.modules.chunking import decode_windows, encoded_chunks, span_through, with_own_strides
from hf_audio_vae.modules.dilated import DownsamplingBlock, StridedConv1d, UpsamplingBlock

Levels = list[Tensor]


class LevelEncoder(nn.Module):
    """Blocks in a row; (batch, audio_channels, time) -> the outputs of the blocks from `first` on, finest first.

    Args:
        blocks (`Iterable[DownsamplingBlock]`): One a level, beginning at the waveform.
        first (`int`): The first block whose output is a level's latents.
    """

    blocks: Any  # nn.ModuleList of DownsamplingBlock

    def __init__(self, blocks: Iterable[DownsamplingBlock], first: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.first = first

    def forward(self, x: Tensor) -> Levels:
        """Return (batch, channels, frames) of each of these blocks."""
        levels = []
        for place, block in enumerate(self.blocks):
            x = block(x)
            if place >= self.first:
                levels.append(x)
        return levels

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Samples that the last block's frames [start, stop) read, and so all that earlier blocks' frames there do."""
        return span_through(self.blocks, start, stop)


class LevelDecoder(nn.Module):
    """Blocks in a row from a level to the waveform; latents -> (batch, audio_channels, time).

    Given are the latents of the decoder's own level, or those of all levels down to the finest, finest first: each is
    then added where its rate is reached.

    Args:
        blocks (`Iterable[UpsamplingBlock]`): One a level, the finest first; they run from the last to the first.
        channels (`int`): Between them.
        audio_channels (`int`): Of the waveform.
    """

    blocks: Any  # nn.ModuleList of UpsamplingBlock

    def __init__(self, blocks: Iterable[UpsamplingBlock], channels: int, audio_channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.conv_out = StridedConv1d(channels, audio_channels, 3)

    def forward(self, levels: Levels) -> Tensor:
        """Return the waveform."""
        *finer, x = levels
        for place in reversed(range(len(self.blocks))):
            x = self.blocks[place](x)
            if finer and place:
                x = x + finer[place - 1]
        return self.conv_out(x)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Frames of the decoder's own level that the samples [start, stop) read; of finer levels, those within."""
        return span_through((*reversed(self.blocks), self.conv_out), start, stop)


def level_encoder(config: HierarchicalVQVAEConfig, level: int | None) -> LevelEncoder:
    """Make the encoder of one level, or of all."""
    last = len(config.strides) - 1 if level is None else level
    blocks = []
    for place in range(last + 1):
        channels = config.hidden_size if place else config.audio_channels
        sizes = _sizes(config, place, config.level_multipliers[place if level is None else level])
        blocks.append(DownsamplingBlock(channels, config.hidden_size, **sizes))
    return LevelEncoder(blocks, first=0 if level is None else level)


def level_decoder(config: HierarchicalVQVAEConfig, level: int) -> LevelDecoder:
    """Make the decoder of one level."""
    multiplier, reverse = config.level_multipliers[level], config.reverse_decoder_dilation
    blocks = [
        UpsamplingBlock(config.hidden_size, **_sizes(config, place, multiplier, reverse=reverse))
        for place in range(level + 1)
    ]
    return LevelDecoder(blocks, config.hidden_size, config.audio_channels)


def _sizes(config: HierarchicalVQVAEConfig, place: int, multiplier: int, *, reverse: bool = False) -> dict[str, Any]:
    """Sizes inside the block at a place, in an encoder or decoder of this multiplier."""
    width, depth = config.width * multiplier, config.depth * multiplier
    cycle = config.dilation_cycle or depth
    dilations = tuple(config.dilation_growth ** (unit % cycle) for unit in range(depth))
    return {
        "width": width,
        "stride": config.strides[place],
        "count": config.downsampling_counts[place],
        "unit_width": int(config.unit_expansion * width),
        "dilations": dilations[::-1] if reverse else dilations,
    }


class PackedEncoding:
    """What an encoder's levels become, as one tensor at the rate of the last: a module that knows its span.

    Args:
        encoder (`LevelEncoder`): The encoder, for its span.
        run (`Callable[[torch.Tensor], Levels]`): What is computed of a waveform, with the encoder.
        ratios (`tuple[int, ...]`): Frames of each of its levels for one frame of the tensor.
    """

    def __init__(self, encoder: LevelEncoder, run: Callable[[Tensor], Levels], ratios: tuple[int, ...]) -> None:
        self.encoder = encoder
        self.run = run
        self.ratios = ratios

    def __call__(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return pack(self.run(x), self.ratios)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Samples that these frames read."""
        return self.encoder.input_span(start * self.ratios[-1], stop * self.ratios[-1])


def pack(levels: Sequence[Tensor], ratios: tuple[int, ...]) -> Tensor:
    """Lay what belongs to one frame along the channels; (batch, c, frames * ratio) each -> (batch, all, frames)."""
    # (batch, c, frames * ratio) -> (batch, c, frames, ratio) -> (batch, c, ratio, frames), then c and ratio are one
    laid = [x.unflatten(2, (-1, ratio)).transpose(2, 3).flatten(1, 2) for x, ratio in zip(levels, ratios, strict=True)]
    return torch.cat(laid, dim=1)


def unpack(packed: Tensor, ratios: tuple[int, ...]) -> Levels:
    """Undo `pack`, of levels that all have the same channels."""
    channels = packed.shape[1] // sum(ratios)
    laid = packed.split([channels * ratio for ratio in ratios], dim=1)
    return [
        x.unflatten(1, (channels, ratio)).transpose(2, 3).flatten(2) for x, ratio in zip(laid, ratios, strict=True)
    ]


def encode_levels_in_chunks(encoding: PackedEncoding, x: Tensor, hop_length: int, chunk_frames: int) -> Levels:
    """Run an encoder over `chunk_frames` of the coarsest level at a time; (batch, in, time) -> all its levels."""

    def read(start: int, stop: int) -> Tensor:
        return x[..., start:stop]

    frames = frame_count(x.shape[-1], hop_length)
    levels: Levels = []
    place = 0
    for packed in encoded_chunks(encoding, read, x.shape[-1], hop_length, chunk_frames):
        chunk = unpack(packed, encoding.ratios)
        if not levels:
            sizes = [frames * ratio for ratio in encoding.ratios]
            levels = [part.new_empty(*part.shape[:2], size) for part, size in zip(chunk, sizes, strict=True)]
        for level, part, ratio in zip(levels, chunk, encoding.ratios, strict=True):
            level[..., place * ratio : place * ratio + part.shape[-1]] = part
        place += packed.shape[-1]
    return levels


def decode_levels_in_chunks(
    decode: Callable[[Levels], Tensor],
    input_span: Callable[[int, int], tuple[int, int]],
    levels: Levels,
    hop_length: int,
    chunk_frames: int,
) -> Tensor:
    """Return ``decode(levels)``, `chunk_frames` of the last level at a time; `hop_length` samples each."""
    frames = levels[-1].shape[-1]
    ratios = [level.shape[-1] // frames for level in levels]

    def decode_window(first: int, last: int) -> Tensor:
        parts = (level[..., first * ratio : last * ratio] for level, ratio in zip(levels, ratios, strict=True))
        return decode([with_own_strides(part) for part in parts])

    return decode_windows(decode_window, input_span, frames, hop_length, chunk_frames)
