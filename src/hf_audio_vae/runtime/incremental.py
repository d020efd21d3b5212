"""Streaming forms of layers: each keeps the inputs that later outputs read, and computes no output twice.

`stream_of` returns the streaming form of a layer, with a copy of the weights. Its concatenated outputs equal those of
the layer for the whole signal, for pieces of any length. Each output comes with the last input that it reads.
"""

import copy
from functools import partial, singledispatch

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.activations import Snake
from hf_audio_vae.modules.alignment import Alignment
from hf_audio_vae.modules.autoregressive import AutoregressiveWaveNet, Gate
from hf_audio_vae.modules.convnext import ChannelNorm, ChannelScale, DepthwiseConv1d, PointwiseConv1d
from hf_audio_vae.modules.convolution import WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.modules.dilated import StridedConv1d, UpsamplingConv1d
from hf_audio_vae.modules.magnitude_preserving import (
    MagnitudeNorm,
    MagnitudeSiLU,
    MeanFrames,
    RestoreBins,
    Scale,
    StandardizeBins,
)
from hf_audio_vae.modules.seanet import SkipLSTM
from hf_audio_vae.modules.short_time import STFT, InverseSTFT
from hf_audio_vae.modules.spectrogram import (
    CropBins,
    FlattenBins,
    FrameClock,
    GatherParts,
    PositionNorm,
    Repeat2d,
    SpectrogramConv2d,
    SpreadParts,
    UnflattenBins,
)
from hf_audio_vae.modules.spectrogram_networks import SegmentDecoder, SegmentEncoder
from hf_audio_vae.modules.stack import Residual, layers_of
from hf_audio_vae.modules.wavenet import LogMagnitude
from hf_audio_vae.runtime.streams import (
    Chain,
    ConvolutionStream,
    GenerationStream,
    InverseSTFTStream,
    LayerStream,
    LSTMStream,
    Pointwise,
    ResidualStream,
    Stream,
    UpsamplingStream,
    copied,
)


@singledispatch
def stream_of(layer: nn.Module) -> Stream:
    """Return the streaming form of a layer, with a copy of its weights that does not follow the layer.

    Args:
        layer (`torch.nn.Module`): A layer of this package, or a network of them.

    Raises:
        ValueError: The layer has no streaming form; normalisation over time determines no output before the end.

    Example:
        >>> layer = WeightNormConv1d(1, 2, 7, causal=True)
        >>> x, stream = torch.randn(1, 1, 10), stream_of(layer)
        >>> with torch.no_grad():
        ...     y = torch.cat([stream.push(x[..., :3]), stream.push(x[..., 3:], last=True)], dim=-1)
        >>> torch.allclose(y, layer(x), atol=1e-6)
        True
    """
    layers = layers_of(layer)
    if layers is None:
        raise ValueError(f"{type(layer).__name__} has no streaming form; encode or decode the signal as a whole.")
    return chain_of(*layers)


@stream_of.register
def _(layer: Residual) -> Stream:
    return ResidualStream(chain_of(*layer.branch()), stream_of(layer.shortcut))


@stream_of.register
def _(layer: nn.ReLU | nn.ELU | nn.Tanh | nn.Hardtanh | nn.GELU | nn.SiLU | nn.Identity) -> Stream:
    return Pointwise(layer)


@stream_of.register
def _(layer: Gate | LogMagnitude | FrameClock) -> Stream:
    return Pointwise(layer)


@stream_of.register
def _(layer: PointwiseConv1d | ChannelNorm | ChannelScale | StandardizeBins | RestoreBins) -> Stream:
    return Pointwise(copy.deepcopy(layer))


@stream_of.register
def _(layer: DepthwiseConv1d) -> Stream:
    return LayerStream(copy.deepcopy(layer).convolve, layer.alignment)


@stream_of.register
def _(layer: STFT) -> Stream:
    return LayerStream(layer.transform, layer.alignment)


@stream_of.register
def _(layer: InverseSTFT) -> Stream:
    return InverseSTFTStream(layer)


@stream_of.register
def _(layer: PositionNorm | Repeat2d | CropBins | FlattenBins | UnflattenBins | SpreadParts | GatherParts) -> Stream:
    return Pointwise(layer)


@stream_of.register
def _(layer: MagnitudeNorm | MagnitudeSiLU | Scale) -> Stream:
    return Pointwise(layer)


@stream_of.register
def _(layer: MeanFrames) -> Stream:
    return _groups_of(layer.ratio, layer)


@stream_of.register
def _(layer: SpectrogramConv2d) -> Stream:
    return LayerStream(copy.deepcopy(layer).convolve, layer.alignment)


@stream_of.register
def _(layer: SegmentEncoder) -> Stream:
    return _groups_of(layer.num_frames, copy.deepcopy(layer))


@stream_of.register
def _(layer: SegmentDecoder) -> Stream:
    return Pointwise(copy.deepcopy(layer))


@stream_of.register
def _(layer: Snake) -> Stream:
    frequency, magnitude = map(copied, layer.factors())
    return Pointwise(partial(_snake, frequency=frequency, magnitude=magnitude))


@stream_of.register
def _(layer: WeightNormConv1d) -> Stream:
    return ConvolutionStream(layer.weight(), layer.bias, layer.alignment)


@stream_of.register
def _(layer: StridedConv1d) -> Stream:
    return ConvolutionStream(layer.weight, layer.bias, layer.alignment)


@stream_of.register
def _(layer: WeightNormConvTranspose1d) -> Stream:
    return UpsamplingStream(layer.weight(), layer.bias, layer.alignment)


@stream_of.register
def _(layer: UpsamplingConv1d) -> Stream:
    return UpsamplingStream(layer.weight, layer.bias, layer.alignment)


@stream_of.register
def _(layer: SkipLSTM) -> Stream:
    return LSTMStream(layer)


@stream_of.register
def _(layer: AutoregressiveWaveNet) -> Stream:
    return GenerationStream(layer)


def chain_of(*layers: nn.Module) -> Chain:
    """Return the streaming form of a sequence of layers."""
    return Chain(stream_of(layer) for layer in layers)


def _groups_of(size: int, layer: nn.Module) -> Stream:
    """Return the streaming form of a layer with one output per group of inputs."""
    return LayerStream(partial(_on_whole_groups, layer, size), Alignment(size, size, 1, left=0))


def _on_whole_groups(layer: nn.Module, size: int, x: Tensor) -> Tensor:
    outputs: Tensor = layer(x[..., : x.shape[-1] // size * size])
    return outputs


def _snake(x: Tensor, frequency: Tensor, magnitude: Tensor) -> Tensor:
    """Compute Snake in as few calls as possible: on short pieces, call overhead dominates."""
    converted = x.to(frequency.dtype)
    return torch.addcmul(converted, (frequency * converted).sin_().square_(), magnitude).to(x.dtype)
