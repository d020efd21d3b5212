"""Encoders and decoders on spectrograms, (batch, channels, bins, frames).

`SpectrogramEncoder` and `SpectrogramDecoder` have residual blocks and latents at each bin and frame, as the
autoencoder of latent diffusion (Rombach et al., arXiv:2112.10752), with norms that keep frames apart. `SegmentEncoder`
and `SegmentDecoder` have plain convolutions, and one latent vector for a fixed number of frames.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from hf_audio_vae.modules.spectrogram import (
    BatchNormBlock2d,
    PositionNorm,
    ResidualBlock2d,
    SpectrogramConv2d,
    Upsampling2d,
    kernel_of,
)
from hf_audio_vae.modules.stack import CheckpointedStack, Stack

NewBlock = Callable[[int, int], nn.Module]  # of in_channels and out_channels


class SpectrogramStage(Stack):
    """Changes of rate and channels; (batch, in_channels, bins, frames) -> (batch, channels, bins', frames')."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(layers)

    def layers(self) -> tuple[nn.Module, ...]:
        return tuple(self.steps)


@dataclass(frozen=True)
class Stages:
    """Sizes of the stages of a network, of the encoder in order.

    Args:
        widths (`tuple[int, ...]`): Channels of each stage.
        strides (`tuple[tuple[int, int], ...]`): Strides over bins and frames before each stage.
        blocks (`int`): Blocks of each stage of an encoder; a decoder has one more.
        causal (`bool`): Convolutions read no later frames.
        leading_frame (`bool`): Strides of a causal network start after the first frame.
    """

    widths: tuple[int, ...]
    strides: tuple[tuple[int, int], ...]
    blocks: int
    causal: bool = False
    leading_frame: bool = False

    @property
    def total(self) -> tuple[int, int]:
        """Bins and frames per latent bin and frame."""
        bins, frames = zip(*self.strides, strict=True)
        return math.prod(bins), math.prod(frames)

    def down(self, in_channels: int, new_block: NewBlock) -> nn.ModuleList:
        """Return the stages of an encoder: a convolution with strides, then blocks."""
        stages, width = [], in_channels
        for stage, (channels, strides) in enumerate(zip(self.widths, self.strides, strict=True)):
            entered = channels if stage == 0 else width
            lead = strides[1] - 1 if self.leading_frame else 0
            first = SpectrogramConv2d(
                width, entered, kernel_of(strides), strides=strides, causal=self.causal, lead=lead
            )
            blocks = [new_block(entered if index == 0 else channels, channels) for index in range(self.blocks)]
            stages.append(SpectrogramStage([first, *blocks]))
            width = channels
        return nn.ModuleList(stages)

    def up(self, new_block: NewBlock) -> nn.ModuleList:
        """Return the stages of a decoder: blocks, then an upsampling."""
        stages, width = [], self.widths[-1]
        for stage in reversed(range(len(self.widths))):
            channels = self.widths[stage]
            blocks = [new_block(width if index == 0 else channels, channels) for index in range(self.blocks + 1)]
            # The last upsampling follows a norm, see the decoders.
            last = [self.upsampling(channels, channels, stage)] if stage else []
            stages.append(SpectrogramStage([*blocks, *last]))
            width = channels
        return nn.ModuleList(stages)

    def upsampling(self, in_channels: int, out_channels: int, stage: int) -> Upsampling2d:
        """Return the layer that undoes the strides before a stage."""
        return Upsampling2d(
            in_channels, out_channels, self.strides[stage], causal=self.causal, ahead=self.leading_frame
        )


class SpectrogramEncoder(CheckpointedStack):
    """(batch, in_channels, bins, frames) -> (batch, out_channels, latent_bins, latent_frames)."""

    def __init__(self, stages: Stages, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width, new_block = stages.widths[-1], partial(ResidualBlock2d, causal=stages.causal)
        self.stages = stages.down(in_channels, new_block)
        self.middle = SpectrogramStage([new_block(width, width), new_block(width, width)])
        self.norm = PositionNorm()
        self.activation = nn.SiLU()
        self.project = SpectrogramConv2d(width, out_channels, causal=stages.causal)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return *self.stages, self.middle, self.norm, self.activation, self.project


class SpectrogramDecoder(CheckpointedStack):
    """(batch, in_channels, latent_bins, latent_frames) -> (batch, out_channels, bins, frames)."""

    def __init__(self, stages: Stages, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width, new_block = stages.widths[-1], partial(ResidualBlock2d, causal=stages.causal)
        self.first = SpectrogramConv2d(in_channels, width, causal=stages.causal)
        self.middle = SpectrogramStage([new_block(width, width), new_block(width, width)])
        self.stages = stages.up(new_block)
        self.norm = PositionNorm()
        self.activation = nn.SiLU()
        self.project = stages.upsampling(stages.widths[0], out_channels, 0)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return self.first, self.middle, *self.stages, self.norm, self.activation, self.project


class SegmentEncoder(CheckpointedStack):
    """One vector per segment; (batch, in_channels, bins, n * num_frames) -> (batch, out_channels, 1, n)."""

    def __init__(self, stages: Stages, in_channels: int, out_channels: int, *, bins: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        self.stages = stages.down(in_channels, BatchNormBlock2d)
        self.flatten = nn.Flatten()
        self.project = nn.Linear(math.prod(_feature_map(stages, bins, num_frames)), out_channels)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers that run on each segment."""
        return *self.stages, self.flatten, self.project

    def forward(self, x: Tensor) -> Tensor:
        segments = x.unflatten(-1, (-1, self.num_frames)).movedim(-2, 1)  # (batch, n, channels, bins, num_frames)
        vectors = super().forward(segments.flatten(0, 1)).unflatten(0, segments.shape[:2])
        return vectors.transpose(1, 2).unsqueeze(2)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return start * self.num_frames, stop * self.num_frames


class SegmentDecoder(CheckpointedStack):
    """(batch, in_channels, 1, n) -> (batch, out_channels, bins, n * num_frames)."""

    def __init__(self, stages: Stages, in_channels: int, out_channels: int, *, bins: int, num_frames: int) -> None:
        super().__init__()
        self.num_frames = num_frames
        feature_map = _feature_map(stages, bins, num_frames)
        self.first = nn.Linear(in_channels, math.prod(feature_map))
        self.unflatten = nn.Unflatten(1, feature_map)
        self.stages = stages.up(BatchNormBlock2d)
        self.project = stages.upsampling(stages.widths[0], out_channels, 0)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers that run on each segment."""
        return self.first, self.unflatten, *self.stages, self.project

    def forward(self, x: Tensor) -> Tensor:
        vectors = x.squeeze(2).transpose(1, 2)  # (batch, n, in_channels)
        segments = super().forward(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])
        return segments.movedim(1, -2).flatten(-2)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return start // self.num_frames, (stop - 1) // self.num_frames + 1


def _feature_map(stages: Stages, bins: int, num_frames: int) -> tuple[int, int, int]:
    """Channels, bins and frames after the last stage of an encoder."""
    bin_stride, frame_stride = stages.total
    return stages.widths[-1], bins // bin_stride, num_frames // frame_stride
