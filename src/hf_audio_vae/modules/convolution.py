"""Aligned convolutions: `time` samples in, exactly `time / stride` or `time * stride` samples out.

`input_span` of each layer returns the inputs that its outputs read.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.alignment import Alignment, TransposedAlignment


class _WeightNorm(nn.Module):
    """Weight norm: a direction `weight_v` and a length `weight_g` for each slice of the first dimension.

    Salimans & Kingma, 2016 (arXiv:1602.07868). Plain parameters instead of a torch hook: the keys match the published
    Oobleck files, and the module can be deep-copied.
    """

    def __init__(self, reference: nn.Conv1d | nn.ConvTranspose1d | nn.Conv2d) -> None:
        super().__init__()
        weight = reference.weight.detach()
        self.slice_dims = tuple(range(1, weight.ndim))
        if weight.is_meta:  # the norm itself takes torch 10 ms to decompose, and has no value here
            length = weight.new_empty(len(weight), *(1 for _ in self.slice_dims))
        else:
            length = torch.linalg.vector_norm(weight, dim=self.slice_dims, keepdim=True)
        self.weight_g = nn.Parameter(length)
        self.weight_v = nn.Parameter(weight.clone())
        self.bias = reference.bias

    def extra_repr(self) -> str:
        return f"weight={tuple(self.weight_v.shape)}, bias={self.bias is not None}"

    def weight(self) -> Tensor:
        if self.weight_g is None:  # folded
            return self.weight_v
        length = torch.linalg.vector_norm(self.weight_v, dim=self.slice_dims, keepdim=True)
        return self.weight_v * (self.weight_g / length)


def fold_weight_norm(module: nn.Module) -> int:
    """Replace weight norm by plain weights in place; results are the same, without normalising at each call.

    Use it on a copy for inference: `weight_v` becomes the weight itself and `weight_g` is removed, so a model cannot
    load the state dict.

    Args:
        module (`torch.nn.Module`): A layer or a model, in the dtype used for inference.

    Returns:
        `int`: Number of layers that were folded.

    Example:
        >>> layer = WeightNormConv1d(1, 2, 3)
        >>> weight = layer.weight()
        >>> fold_weight_norm(layer)
        1
        >>> [name for name, _ in layer.named_parameters()], torch.equal(layer.weight(), weight)
        (['weight_v', 'bias'], True)
    """
    normalised = [m for m in module.modules() if isinstance(m, _WeightNorm) and m.weight_g is not None]
    for layer in normalised:
        layer.weight_v = nn.Parameter(layer.weight().detach(), layer.weight_v.requires_grad)
        layer.register_parameter("weight_g", None)
    return len(normalised)


class WeightNormConv1d(_WeightNorm):
    """Convolution over time; (batch, in_channels, time) -> (batch, out_channels, time / stride).

    `time` has to be a multiple of `stride`. A causal layer pads on the left only: output n reads no input after
    ``(n + 1) * stride - 1``. The padding is zeros (`"constant"`) or the mirrored signal (`"reflect"`).
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
        self.alignment = Alignment.of(kernel_size, stride=stride, dilation=dilation, causal=causal, pad_mode=pad_mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.alignment.convolve(x, self.weight(), self.bias)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


class _GroupNorm(nn.Module):
    """Convolution with a plain weight and an output normalised over channels and time jointly.

    Wu & He, 2018 (arXiv:1803.08494), with one group.
    """

    def __init__(self, reference: nn.Conv1d | nn.ConvTranspose1d) -> None:
        super().__init__()
        self.weight, self.bias = reference.weight, reference.bias
        self.norm = nn.GroupNorm(1, reference.out_channels)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        raise ValueError(
            f"{type(self).__name__} normalises over time, so each output depends on the whole signal; encode and "
            f"decode the signal as a whole, or use a model with weight norm."
        )


class GroupNormConv1d(_GroupNorm):
    """`WeightNormConv1d` with a plain weight and group norm."""

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
        super().__init__(nn.Conv1d(in_channels, out_channels, kernel_size))
        self.alignment = Alignment.of(kernel_size, stride=stride, dilation=dilation, causal=causal, pad_mode=pad_mode)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.alignment.convolve(x, self.weight, self.bias))


class WeightNormConvTranspose1d(_WeightNorm):
    """Upsampling by `stride` with a kernel of two strides; (batch, in, time) -> (batch, out, time * stride).

    The output of the full transposed convolution is one stride too long. Half a stride is cut on each side (one sample
    more on the left if the stride is odd), or a whole stride on the right if `causal`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, causal: bool = False) -> None:
        super().__init__(nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride))
        self.alignment = _transposed(stride, causal)

    def forward(self, x: Tensor) -> Tensor:
        return self.alignment.convolve(x, self.weight(), self.bias)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.alignment.span(start, stop)


class GroupNormConvTranspose1d(_GroupNorm):
    """`WeightNormConvTranspose1d` with a plain weight and group norm, applied before the cut as in EnCodec."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, causal: bool = False) -> None:
        super().__init__(nn.ConvTranspose1d(in_channels, out_channels, 2 * stride, stride))
        self.alignment = _transposed(stride, causal)

    def forward(self, x: Tensor) -> Tensor:
        full = self.norm(F.conv_transpose1d(x, self.weight, self.bias, self.alignment.stride))
        return self.alignment.slice(full, x.shape[-1])


def _transposed(stride: int, causal: bool) -> TransposedAlignment:
    return TransposedAlignment(stride, cut=0 if causal else math.ceil(stride / 2))


class WeightNormConv2d(_WeightNorm):
    """2D convolution with zero padding and an output size of `size / stride`, rounded up; odd kernels only.

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
