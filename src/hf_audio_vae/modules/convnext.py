"""ConvNeXt blocks over time (Liu et al., arXiv:2201.03545, in one dimension as in Vocos, arXiv:2306.00814).

Each layer takes and returns (batch, channels, time). Tensors keep their memory format. If the channels of a frame lie
next to each other in memory, as `STFT` returns them, norms and products need no copies.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.alignment import Alignment
from hf_audio_vae.modules.stack import Residual


class PointwiseConv1d(nn.Linear):
    """Linear layer on the channels of each frame; (batch, in_channels, time) -> (batch, out_channels, time)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each frame; (batch, channels, time) -> same. Time steps stay independent."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class DepthwiseConv1d(nn.Conv1d):
    """One filter per channel; (batch, channels, time) -> same."""

    def __init__(self, channels: int, kernel_size: int, *, causal: bool = False) -> None:
        super().__init__(channels, channels, kernel_size, groups=channels)
        self.alignment = Alignment.of(kernel_size, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(self.alignment.pad(x))

    def convolve(self, padded: Tensor) -> Tensor:
        """Convolve a signal with its padding."""
        # In two dimensions, torch keeps the channels of a frame next to each other.
        return F.conv2d(padded.unsqueeze(2), self.weight.unsqueeze(2), self.bias, groups=self.groups).squeeze(2)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


class ChannelScale(nn.Module):
    """Learned factor per channel (layer scale, Touvron et al., arXiv:2103.17239); (batch, channels, time) -> same."""

    def __init__(self, channels: int, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.weight = nn.Parameter(torch.full((channels,), initial))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None]


class ConvNeXtBlock(Residual):
    """Depthwise convolution, norm, two pointwise layers and a factor, plus the input; (batch, channels, time) -> same.

    Args:
        channels (`int`): Channels of input and output.
        kernel_size (`int`): Taps of the depthwise convolution.
        expansion (`float`): Hidden channels of the pointwise layers, in units of `channels`.
        causal (`bool`): Outputs read no later frames.
        initial_scale (`float`): Initial factor of the branch.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        expansion: float = 3,
        causal: bool = False,
        initial_scale: float = 0.2,
    ) -> None:
        super().__init__()
        hidden = round(channels * expansion)
        self.depthwise = DepthwiseConv1d(channels, kernel_size, causal=causal)
        self.norm = ChannelNorm(channels)
        self.expand = PointwiseConv1d(channels, hidden)
        self.activation = nn.GELU()
        self.project = PointwiseConv1d(hidden, channels)
        self.scale = ChannelScale(channels, initial_scale)
        self.shortcut = nn.Identity()

    def branch(self) -> tuple[nn.Module, ...]:
        return self.depthwise, self.norm, self.expand, self.activation, self.project, self.scale
