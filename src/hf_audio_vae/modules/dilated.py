"""Dilated residual units between plain strided convolutions: the blocks of Jukebox (Dhariwal et al., 2020).

arXiv:2005.00341. Time stays aligned: `time` samples in, exactly `time / stride` or `time * stride` out. Every layer
says which inputs its outputs read (`input_span`), which is what exact coding in chunks asks for.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.row import Row

Span = tuple[int, int]


class StridedConv1d(nn.Conv1d):
    """Convolution padded with zeros; (batch, in_channels, time) -> (batch, out_channels, time / stride).

    `time` has to be a multiple of `stride`. Where the padding is odd, the left side has the smaller half.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation=dilation)
        self.reach = dilation * (kernel_size - 1) + 1  # inputs from the first one read to the last
        self.left = (self.reach - stride) // 2
        self.right = self.reach - stride - self.left

    def forward(self, x: Tensor) -> Tensor:
        if self.left != self.right:
            x = F.pad(x, (self.left, self.right))
        padding = self.left if self.left == self.right else 0
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation)

    def input_span(self, start: int, stop: int) -> Span:
        (stride,) = self.stride
        return start * stride - self.left, (stop - 1) * stride - self.left + self.reach


class UpsamplingConv1d(nn.ConvTranspose1d):
    """Upsampling by `stride` with a kernel of two strides; (batch, in, time) -> (batch, out, time * stride).

    Of the stride that the full transposed convolution has too much, half is cut from the left, rounded down.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__(in_channels, out_channels, 2 * stride, stride, padding=stride // 2)
        self.factor = stride
        self.left = stride // 2

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]  # torch's takes an output size
        if self.factor % 2 == 0:
            return F.conv_transpose1d(x, self.weight, self.bias, self.factor, self.left)
        # Cut by slicing alone: on the CPU with several threads, torch 2.13 computes wrong samples at odd strides and a
        # padding of half of it, rounded down.
        full = F.conv_transpose1d(x, self.weight, self.bias, self.factor)
        return full[..., self.left : self.left + x.shape[-1] * self.factor]

    def input_span(self, start: int, stop: int) -> Span:
        return (start + self.left) // self.factor - 1, (stop - 1 + self.left) // self.factor + 1


class DilatedUnit(nn.Module):
    """ReLU, dilated 3-tap convolution, ReLU, 1-tap convolution, plus the input; (batch, channels, time) -> same."""

    def __init__(self, channels: int, hidden: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = StridedConv1d(channels, hidden, 3, dilation=dilation)
        self.conv2 = StridedConv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))

    def input_span(self, start: int, stop: int) -> Span:
        return self.conv1.input_span(start, stop)


class DownsamplingStage(Row):
    """A strided convolution, then dilated units; (batch, in_channels, time) -> (batch, width, time / stride)."""

    def __init__(
        self, in_channels: int, width: int, *, stride: int, unit_width: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.conv = StridedConv1d(in_channels, width, 2 * stride, stride=stride)
        self.units = nn.ModuleList(DilatedUnit(width, unit_width, dilation) for dilation in dilations)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.conv, *self.units)


class UpsamplingStage(Row):
    """Dilated units, then a transposed convolution; (batch, width, time) -> (batch, out_channels, time * stride)."""

    def __init__(
        self, width: int, out_channels: int, *, stride: int, unit_width: int, dilations: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.units = nn.ModuleList(DilatedUnit(width, unit_width, dilation) for dilation in dilations)
        self.conv_t = UpsamplingConv1d(width, out_channels, stride=stride)

    def layers(self) -> tuple[nn.Module, ...]:
        return (*self.units, self.conv_t)


class _Block(Row):
    """A row whose stages are computed anew in the backward pass while `gradient_checkpointing` is on."""

    stages: nn.ModuleList
    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        stages = set(self.stages)
        for layer in self.layers():
            if torch.is_grad_enabled() and self.gradient_checkpointing and layer in stages:
                x = self._gradient_checkpointing_func(layer, x)
            else:
                x = layer(x)
        return x


class DownsamplingBlock(_Block):
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


class UpsamplingBlock(_Block):
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
