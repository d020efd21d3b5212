"""Magnitude-preserving encoders and decoders on spectrograms: convolutions over frames, with bins as channels.

Each layer keeps values of mean square one at mean square one, without biases or learned norms (Karras et al.,
arXiv:2312.02696), as in the autoencoder of MMAudio (Cheng et al., arXiv:2412.15322). Inside, tensors are
(batch, channels, 1, frames).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.spectrogram import Repeat2d, SpectrogramConv2d
from hf_audio_vae.modules.spectrogram_networks import SpectrogramStage, Stages
from hf_audio_vae.modules.stack import CheckpointedStack, Residual, Stack

SILU_MAGNITUDE = 0.596  # root mean square of SiLU of a normal variable
BRANCH_SHARE = 0.3  # of a sum of a shortcut and a branch
NORM_OFFSET = 1e-4  # added to magnitudes that are divided by
MAX_ACTIVATION = 256.0  # bound of the outputs of blocks, for half precision


class FrameConv(SpectrogramConv2d):
    """Convolution over frames without bias; (batch, in, 1, frames) -> (batch, out, 1, frames).

    Initial weights of each output have norm one. They stay free in training, where Karras et al. keep their norm.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, causal: bool = False) -> None:
        super().__init__(in_channels, out_channels, (1, kernel_size), causal=causal, bias=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)
        with torch.no_grad():
            self.weight.div_(self.weight.flatten(1).norm(dim=1)[:, None, None, None])


class GainConv(FrameConv):
    """`FrameConv` with a learned factor, `1 + gain`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, causal: bool) -> None:
        super().__init__(in_channels, out_channels, kernel_size, causal=causal)
        self.gain = nn.Parameter(torch.zeros(()))

    def convolve(self, padded: Tensor) -> Tensor:
        """Convolve with its padding over frames."""
        return F.conv2d(padded, self.weight * (1 + self.gain))


class MagnitudeSiLU(nn.Module):
    """SiLU with mean square one for normal inputs; any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x) / SILU_MAGNITUDE


class MagnitudeNorm(nn.Module):
    """Divide by the root mean square of the channels plus `NORM_OFFSET`; (batch, channels, ...) -> same."""

    def forward(self, x: Tensor) -> Tensor:
        power = x.to(torch.promote_types(x.dtype, torch.float32)).square().mean(dim=1, keepdim=True)
        # The lower bound, far below `NORM_OFFSET`, keeps the gradient of silence finite.
        return x / (power.clamp_min(1e-20).sqrt() + NORM_OFFSET).to(x.dtype)


class Scale(nn.Module):
    """Multiply by a constant; any shape."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def extra_repr(self) -> str:
        return f"factor={self.factor:g}"

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


def shares() -> tuple[Scale, Scale]:
    """Return the factors of a shortcut and of a branch, whose sum of independent inputs keeps their variance."""
    magnitude = math.hypot(1 - BRANCH_SHARE, BRANCH_SHARE)
    return Scale((1 - BRANCH_SHARE) / magnitude), Scale(BRANCH_SHARE / magnitude)


class MagnitudeResidual(Residual):
    """Twice SiLU and convolution, summed with the input; (batch, in, 1, frames) -> (batch, out, 1, frames)."""

    def __init__(self, in_channels: int, out_channels: int, *, causal: bool) -> None:
        super().__init__()
        shortcut_share, self.share = shares()
        self.activation = MagnitudeSiLU()
        self.conv1 = FrameConv(in_channels, out_channels, 3, causal=causal)
        self.conv2 = FrameConv(out_channels, out_channels, 3, causal=causal)
        same = in_channels == out_channels
        self.shortcut = SpectrogramStage(
            [shortcut_share] if same else [FrameConv(in_channels, out_channels, 1), shortcut_share]
        )

    def branch(self) -> tuple[nn.Module, ...]:
        return self.activation, self.conv1, self.activation, self.conv2, self.share


class MagnitudeBlock(Stack):
    """Norm, residual, bound; (batch, in_channels, 1, frames) -> (batch, out_channels, 1, frames)."""

    def __init__(self, in_channels: int, out_channels: int, *, causal: bool) -> None:
        super().__init__()
        self.norm = MagnitudeNorm()
        self.residual = MagnitudeResidual(in_channels, out_channels, causal=causal)
        self.bound = nn.Hardtanh(-MAX_ACTIVATION, MAX_ACTIVATION)

    def layers(self) -> tuple[nn.Module, ...]:
        return self.norm, self.residual, self.bound


class FrameAttention(nn.Module):
    """Attention of each frame to all frames, with one head; (batch, channels, 1, frames) -> same.

    Queries, keys and values have magnitude one. `qkv` interleaves them: channel 3 * c + 1 is the keys' channel c.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = FrameConv(channels, 3 * channels, 1)
        self.norm = MagnitudeNorm()
        self.project = FrameConv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).unflatten(1, (-1, 3)).unbind(dim=2)  # each (batch, channels, 1, frames)
        query, key, value = (self.norm(part).permute(0, 2, 3, 1) for part in parts)  # (batch, 1, frames, channels)
        attended: Tensor = self.project(F.scaled_dot_product_attention(query, key, value).permute(0, 3, 1, 2))
        return attended

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        raise ValueError(
            "`mid_block_add_attention` lets each output depend on the whole signal; encode and decode the signal as a "
            "whole, or use a model without attention."
        )


class AttentionBlock(Residual):
    """Attention over frames, summed with the input; (batch, channels, 1, frames) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shortcut, self.share = shares()
        self.attention = FrameAttention(channels)

    def branch(self) -> tuple[nn.Module, ...]:
        return self.attention, self.share


class MeanFrames(nn.Module):
    """Mean of each `ratio` frames; (..., ratio * n) -> (..., n)."""

    def __init__(self, ratio: int) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.ratio)).mean(dim=-1)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return start * self.ratio, stop * self.ratio


class MagnitudeDownsampling(Stack):
    """Mean frames between two 1-tap convolutions; (batch, channels, 1, ratio * n) -> (batch, channels, 1, n)."""

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.conv1 = FrameConv(channels, channels, 1)
        self.mean = MeanFrames(ratio)
        self.conv2 = FrameConv(channels, channels, 1)

    def layers(self) -> tuple[nn.Module, ...]:
        return self.conv1, self.mean, self.conv2


class MagnitudeUpsampling(Stack):
    """Repeated frames, then a convolution; (batch, channels, 1, n) -> (batch, channels, 1, ratio * n)."""

    def __init__(self, channels: int, ratio: int, *, causal: bool) -> None:
        super().__init__()
        self.repeat = Repeat2d((1, ratio))
        self.conv = FrameConv(channels, channels, 3, causal=causal)

    def layers(self) -> tuple[nn.Module, ...]:
        return self.repeat, self.conv


class _BinStatistics(nn.Module):
    """Mean and standard deviation of each bin, (in_channels * bins, 1, 1); buffers, 0 and 1 unless they are loaded."""

    mean: Tensor
    std: Tensor

    def __init__(self, in_channels: int, bins: int) -> None:
        super().__init__()
        self.sizes = (in_channels, bins)
        self.register_buffer("mean", torch.zeros(in_channels * bins, 1, 1))
        self.register_buffer("std", torch.ones(in_channels * bins, 1, 1))


class StandardizeBins(_BinStatistics):
    """Subtract the mean of each bin, divide by its std; (batch, in, bins, frames) -> (batch, in * bins, 1, frames)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1, 2).unsqueeze(2) - self.mean) / self.std


class RestoreBins(_BinStatistics):
    """Inverse of `StandardizeBins`; (batch, out * bins, 1, frames) -> (batch, out, bins, frames)."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.std + self.mean).squeeze(2).unflatten(1, self.sizes)


def _middle(channels: int, *, causal: bool, attention: bool) -> SpectrogramStage:
    first, last = (MagnitudeBlock(channels, channels, causal=causal) for _ in range(2))
    return SpectrogramStage([first, AttentionBlock(channels), last] if attention else [first, last])


class MagnitudeEncoder(CheckpointedStack):
    """(batch, in_channels, bins, frames) -> (batch, out_channels, 1, latent_frames); see `Stages`."""

    def __init__(self, stages: Stages, in_channels: int, out_channels: int, *, bins: int, attention: bool) -> None:
        super().__init__()
        causal, width = stages.causal, stages.widths[0]
        self.standardize = StandardizeBins(in_channels, bins)
        self.first = FrameConv(in_channels * bins, width, 3, causal=causal)
        self.stages = nn.ModuleList()
        ratios = [ratio for _, ratio in stages.strides[1:]]
        for channels, ratio in zip(stages.widths, [*ratios, 1], strict=True):
            steps: list[nn.Module] = []
            for _ in range(stages.blocks):
                steps.append(MagnitudeBlock(width, channels, causal=causal))
                width = channels
            if ratio > 1:
                steps.append(MagnitudeDownsampling(width, ratio))
            self.stages.append(SpectrogramStage(steps))
        self.middle = _middle(width, causal=causal, attention=attention)
        self.activation = MagnitudeSiLU()
        self.project = GainConv(width, out_channels, 3, causal=causal)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return self.standardize, self.first, *self.stages, self.middle, self.activation, self.project


class MagnitudeDecoder(CheckpointedStack):
    """(batch, in_channels, 1, latent_frames) -> (batch, out_channels, bins, frames); see `Stages`."""

    def __init__(self, stages: Stages, in_channels: int, out_channels: int, *, bins: int, attention: bool) -> None:
        super().__init__()
        causal, width = stages.causal, stages.widths[-1]
        self.first = FrameConv(in_channels, width, 3, causal=causal)
        self.middle = _middle(width, causal=causal, attention=attention)
        self.stages = nn.ModuleList()
        for channels, (_, ratio) in zip(reversed(stages.widths), reversed(stages.strides), strict=True):
            steps: list[nn.Module] = []
            for _ in range(stages.blocks + 1):
                steps.append(MagnitudeBlock(width, channels, causal=causal))
                width = channels
            if ratio > 1:
                steps.append(MagnitudeUpsampling(width, ratio, causal=causal))
            self.stages.append(SpectrogramStage(steps))
        self.activation = MagnitudeSiLU()
        self.project = GainConv(width, out_channels * bins, 3, causal=causal)
        self.restore = RestoreBins(out_channels, bins)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return self.first, self.middle, *self.stages, self.activation, self.project, self.restore
