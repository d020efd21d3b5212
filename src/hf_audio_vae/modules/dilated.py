"""Dilated residual units between plain strided convolutions: the blocks of Jukebox (Dhariwal et al., 2020).

arXiv:2005.00341. `time` samples in, exactly `time / stride` or `time * stride` samples out.
"""

from torch import Tensor, nn

from hf_audio_vae.modules.alignment import Alignment, TransposedAlignment
from hf_audio_vae.modules.stack import CheckpointedStack, Residual, Stack


class StridedConv1d(nn.Conv1d):
    """Convolution padded with zeros; (batch, in_channels, time) -> (batch, out_channels, time / stride).

    `time` has to be a multiple of `stride`. The smaller half of an odd padding is on the left.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation=dilation)
        padding = dilation * (kernel_size - 1) + 1 - stride
        self.alignment = Alignment(kernel_size, stride, dilation, left=padding // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.alignment.convolve(x, self.weight, self.bias)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


class UpsamplingConv1d(nn.ConvTranspose1d):
    """Upsampling by `stride` with a kernel of two strides; (batch, in, time) -> (batch, out, time * stride).

    The output of the full transposed convolution is one stride too long; half of it, rounded down, is cut on the left.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__(in_channels, out_channels, 2 * stride, stride, padding=stride // 2)
        self.alignment = TransposedAlignment(stride, cut=stride // 2)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # torch's takes an output size
        return self.alignment.convolve(x, self.weight, self.bias)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


class DilatedUnit(Residual):
    """ReLU, dilated 3-tap convolution, ReLU, 1-tap convolution, plus the input; (batch, channels, time) -> same."""

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = StridedConv1d(channels, hidden, 3, dilation=dilation)
        self.conv2 = StridedConv1d(hidden, channels, 1)
        self.activation = nn.ReLU()
        self.shortcut = nn.Identity()

    def branch(self) -> tuple[nn.Module, ...]:
        return self.activation, self.conv1, self.activation, self.conv2


class DownsamplingStage(Stack):
    """A strided convolution, then dilated units; (batch, in_channels, time) -> (batch, width, time / stride)."""

    def __init__(
        self, in_channels: int, width: int, *, stride: int, unit_width: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.conv = StridedConv1d(in_channels, width, 2 * stride, stride=stride)
        self.units = nn.ModuleList(DilatedUnit(width, unit_width, dilation) for dilation in dilations)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.conv, *self.units)


class UpsamplingStage(Stack):
    """Dilated units, then a transposed convolution; (batch, width, time) -> (batch, out_channels, time * stride)."""

    def __init__(
        self, width: int, out_channels: int, *, stride: int, unit_width: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.units = nn.ModuleList(DilatedUnit(width, unit_width, dilation) for dilation in dilations)
        self.conv_t = UpsamplingConv1d(width, out_channels, stride=stride)

    def layers(self) -> tuple[nn.Module, ...]:
        return (*self.units, self.conv_t)


class DownsamplingBlock(CheckpointedStack):
    """`count` stages that each divide the rate by `stride`, then a convolution.

    (batch, in_channels, time) -> (batch, out_channels, time / stride**count)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        stride: int,
        count: int,
        unit_width: int,
        dilations: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            DownsamplingStage(
                width if i else in_channels, width, stride=stride, unit_width=unit_width, dilations=dilations
            )
            for i in range(count)
        )
        self.conv_out = StridedConv1d(width, out_channels, 3)

    def layers(self) -> tuple[nn.Module, ...]:
        return (*self.stages, self.conv_out)


class UpsamplingBlock(CheckpointedStack):
    """A convolution, then `count` stages that each multiply the rate by `stride`.

    (batch, channels, time) -> (batch, channels, time * stride**count)
    """

    def __init__(
        self, channels: int, *, width: int, stride: int, count: int, unit_width: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.conv_in = StridedConv1d(channels, width, 3)
        self.stages = nn.ModuleList(
            UpsamplingStage(
                width,
                width if i < count - 1 else channels,
                stride=stride,
                unit_width=unit_width,
                dilations=dilations,
            )
            for i in range(count)
        )

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.conv_in, *self.stages)
