"""Convolutions that keep time aligned: `time` samples in, exactly `time / stride` or `time * stride` out.

Every layer also answers one question, `input_span`: which inputs do the outputs [start, stop) read? Chained backwards
through a network it gives the halo that exact chunked coding needs.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAD_MODES = ("constant", "reflect")  # zeros, or the signal mirrored


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
        if self.weight_g is None:  # folded
            return self.weight_v
        length = torch.linalg.vector_norm(self.weight_v, dim=self.slice_dims, keepdim=True)
        return self.weight_v * (self.weight_g / length)


def fold_weight_norm(module: nn.Module) -> None:
    """Make every weight of a module plain, in place: the same results, without the normalisation at each call.

    Meant for a copy that is used and not trained or saved: each `weight_v` becomes the weight itself and `weight_g`
    goes, so the state dict is none that a model loads.

    Args:
        module (`torch.nn.Module`): A layer or a whole model, in the dtype that it shall be used in.

    Example:
        >>> layer = WeightNormConv1d(1, 2, 3)
        >>> weight = layer.weight()
        >>> fold_weight_norm(layer)
        >>> [name for name, _ in layer.named_parameters()], torch.equal(layer.weight(), weight)
        (['weight_v', 'bias'], True)
    """
    for layer in module.modules():
        if isinstance(layer, _WeightNorm) and layer.weight_g is not None:
            layer.weight_v = nn.Parameter(layer.weight().detach(), layer.weight_v.requires_grad)
            layer.register_parameter("weight_g", None)


class _Downsampling:
    """Paddings of a convolution over time and the inputs it reads; the class that inherits it has the weight."""

    def _place(self, kernel_size: int, *, stride: int, dilation: int, causal: bool, pad_mode: str) -> None:
        if pad_mode not in PAD_MODES:
            raise ValueError(f"`pad_mode` {pad_mode!r} is none of {PAD_MODES}.")
        self.stride = stride
        self.dilation = dilation
        self.reach = dilation * (kernel_size - 1) + 1  # inputs from the first one read to the last
        padding = self.reach - stride
        self.left = padding if causal else math.ceil(padding / 2)
        self.right = padding - self.left
        self.reflect = pad_mode == "reflect" and padding > 0

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        in_convolution = self.left == self.right and not self.reflect
        if self.reflect:
            x = reflect(x, self.left, self.right)
        elif not in_convolution:
            x = F.pad(x, (self.left, self.right))
        return F.conv1d(x, weight, bias, self.stride, self.left if in_convolution else 0, self.dilation)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        if self.reflect:
            start = max(start, 0)  # an output before the first one stands for one that is mirrored, which is named too
        first, last = start * self.stride - self.left, (stop - 1) * self.stride - self.left + self.reach
        if self.reflect and first < 0:  # inputs before the first one are those as far after it; what is mirrored at
            return 0, max(last, 1 - first)  # the end is among those that are read anyway: no layer pads more there
        return first, last


class WeightNormConv1d(_Downsampling, _WeightNorm):
    """Convolution over time; (batch, in_channels, time) -> (batch, out_channels, time / stride).

    `time` has to be a multiple of `stride`. A causal layer pads on the left only: output n then reads no input after
    its own stride, ``(n + 1) * stride - 1``. Padding is zeros (`"constant"`) or the mirrored signal (`"reflect"`).
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
        pad_mode: str = "constant",
    ) -> None:
        super().__init__(nn.Conv1d(in_channels, out_channels, kernel_size, bias=bias))
        self._place(kernel_size, stride=stride, dilation=dilation, causal=causal, pad_mode=pad_mode)

    def forward(self, x: Tensor) -> Tensor:
        return self._convolve(x, self.weight(), self.bias)


class GroupNormConv1d(_Downsampling, nn.Module):
    """`WeightNormConv1d` with a plain weight, its output normalised over channels and time together.

    Wu & He, 2018 (arXiv:1803.08494), with one group. An output depends on all of the signal: no chunks.
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
        pad_mode: str = "constant",
    ) -> None:
        super().__init__()
        reference = nn.Conv1d(in_channels, out_channels, kernel_size)
        self.weight, self.bias = reference.weight, reference.bias
        self.norm = nn.GroupNorm(1, out_channels)
        self._place(kernel_size, stride=stride, dilation=dilation, causal=causal, pad_mode=pad_mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self._convolve(x, self.weight, self.bias))


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Mirror a signal at its ends, without the end samples; (..., time) -> (..., left + time + right).

    As in EnCodec, zeros continue a signal that is too short for that, and the end is cut by as many samples.
    """
    missing = max(left, right) + 1 - x.shape[-1]
    if missing <= 0:
        return F.pad(x, (left, right), mode="reflect")
    padded = F.pad(F.pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]


class _Upsampling:
    """Where a transposed convolution with a kernel of two strides is cut, and the inputs that it reads."""

    def _place(self, stride: int, causal: bool) -> None:
        self.stride = stride
        self.cut_left = 0 if causal else math.ceil(stride / 2)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        first = (start + self.cut_left) // self.stride - 1
        last = (stop - 1 + self.cut_left) // self.stride
        return first, last + 1


class WeightNormConvTranspose1d(_Upsampling, _WeightNorm):
    """Upsampling by `stride` with a kernel of two strides; (batch, in, time) -> (batch, out, time * stride).

    The full transposed convolution has one stride too many. It is cut on both sides, half a stride each (one sample
    more on the left where the stride is odd), or all on the right if `causal`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, causal: bool = False) -> None:
        super().__init__(nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride))
        self._place(stride, causal)

    def forward(self, x: Tensor) -> Tensor:
        # The convolution cuts the same on both sides, so too much on the right where the stride is odd; one sample of
        # `output_padding` brings that back. Cutting less and slicing is not the same: on the CPU with several threads,
        # torch 2.13 computes wrong samples at odd strides and a padding of half of it, rounded down.
        cut, stop = self.cut_left, x.shape[-1] * self.stride
        missing = max(2 * cut - self.stride, 0)
        if missing < self.stride:
            return F.conv_transpose1d(x, self.weight(), self.bias, self.stride, cut, missing)[..., :stop]
        return F.conv_transpose1d(x, self.weight(), self.bias, self.stride)[..., cut : cut + stop]


class GroupNormConvTranspose1d(_Upsampling, nn.Module):
    """`WeightNormConvTranspose1d` with a plain weight; normalised, as in EnCodec, before it is cut."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, causal: bool = False) -> None:
        super().__init__()
        reference = nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride)
        self.weight, self.bias = reference.weight, reference.bias
        self.norm = nn.GroupNorm(1, out_channels)
        self._place(stride, causal)

    def forward(self, x: Tensor) -> Tensor:
        full = self.norm(F.conv_transpose1d(x, self.weight, self.bias, self.stride))
        return full[..., self.cut_left : self.cut_left + x.shape[-1] * self.stride]


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
