"""Convolutions that keep time aligned: `time` samples in, exactly `time / stride` or `time * stride` out.

Every layer also answers one question, `input_span`: which inputs do the outputs [start, stop) read? Chained backwards
through a network it gives the halo that exact chunked coding needs.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class _WeightNorm(nn.Module):
    """Holds a convolution's weight as direction `weight_v` and length `weight_g` per slice of the first dimension.

    Salimans & Kingma, 2016 (arXiv:1602.07868). Plain parameters instead of a torch hook: the keys are those of the
    published Oobleck files, and the module can be deep-copied.
    """

    def __init__(self, reference: nn.Conv1d | nn.ConvTranspose1d | nn.Conv2d) -> None:
        super().__init__()
        weight = reference.weight.detach()
        self.slice_dims = tuple(range(1, weight.ndim))
        self.weight_g = nn.Parameter(torch.linalg.vector_norm(weight, dim=self.slice_dims, keepdim=True))
        self.weight_v = nn.Parameter(weight.clone())
        self.bias = reference.bias

    def extra_repr(self) -> str:
        return f"weight={tuple(self.weight_v.shape)}, bias={self.bias is not None}"

    def weight(self) -> Tensor:
        length = torch.linalg.vector_norm(self.weight_v, dim=self.slice_dims, keepdim=True)
        return self.weight_v * (self.weight_g / length)


class WeightNormConv1d(_WeightNorm):
    """Convolution padded with zeros; (batch, in_channels, time) -> (batch, out_channels, time / stride).

    `time` has to be a multiple of `stride`. A causal layer pads on the left only: output n then reads no input after
    its own stride, ``(n + 1) * stride - 1``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        causal: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(nn.Conv1d(in_channels, out_channels, kernel_size, bias=bias))
        self.stride = stride
        self.dilation = dilation
        self.reach = dilation * (kernel_size - 1) + 1  # inputs from the first one read to the last
        padding = self.reach - stride
        self.left = padding if causal else math.ceil(padding / 2)
        self.right = padding - self.left

    def forward(self, x: Tensor) -> Tensor:
        symmetric = self.left == self.right
        if not symmetric:
            x = F.pad(x, (self.left, self.right))
        padding = self.left if symmetric else 0
        return F.conv1d(x, self.weight(), self.bias, self.stride, padding, self.dilation)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return start * self.stride - self.left, (stop - 1) * self.stride - self.left + self.reach


class WeightNormConvTranspose1d(_WeightNorm):
    """Upsampling by `stride` with a kernel of two strides; (batch, in, time) -> (batch, out, time * stride).

    The full transposed convolution has one stride too many. It is cut on both sides, half a stride each (one sample
    more on the left where the stride is odd), or all on the right if `causal`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, causal: bool = False) -> None:
        super().__init__(nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride))
        self.stride = stride
        self.cut_left = 0 if causal else math.ceil(stride / 2)

    def forward(self, x: Tensor) -> Tensor:
        cut_both = min(self.cut_left, self.stride - self.cut_left)  # what the convolution itself can leave out
        start = self.cut_left - cut_both
        full = F.conv_transpose1d(x, self.weight(), self.bias, self.stride, cut_both)
        return full[..., start : start + x.shape[-1] * self.stride]

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        first = (start + self.cut_left) // self.stride - 1
        last = (stop - 1 + self.cut_left) // self.stride
        return first, last + 1


class WeightNormConv2d(_WeightNorm):
    """Convolution of planes, padded with zeros to keep `size / stride` (rounded up); odd kernels only.

    (batch, in_channels, height, width) -> (batch, out_channels, height / stride, width / stride)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, int],
        *,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__(nn.Conv2d(in_channels, out_channels, kernel_size))
        self.stride = stride
        self.dilation = dilation
        self.padding = tuple(step * (size - 1) // 2 for step, size in zip(dilation, kernel_size, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), self.bias, self.stride, self.padding, self.dilation)
