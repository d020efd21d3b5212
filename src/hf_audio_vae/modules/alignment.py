"""Alignment of a convolution over time: the padding of its input, and the inputs that its outputs read.

`time` inputs give exactly ``time / stride`` outputs, or ``time * stride`` for a transposed convolution. Chained
backwards through a network, `span` gives the context that exact chunked coding needs.
"""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

PAD_MODES = ("constant", "reflect")  # zeros, or the mirrored signal


@dataclass(frozen=True)
class Alignment:
    """Alignment of a convolution.

    Args:
        kernel_size (`int`): Taps.
        stride (`int`): Inputs per output.
        dilation (`int`): Distance between taps in inputs.
        left (`int`): Padding before the signal; `right` is the remaining padding.
        mirrored (`bool`): Pad with the mirrored signal instead of zeros.
    """

    kernel_size: int
    stride: int
    dilation: int
    left: int
    mirrored: bool = False

    @classmethod
    def of(
        cls, kernel_size: int, *, stride: int = 1, dilation: int = 1, causal: bool = False, pad_mode: str = "constant"
    ) -> "Alignment":
        """Pad on the left only if `causal`, else on both sides; the larger half of an odd padding is on the left.

        Raises:
            ValueError: `pad_mode` is neither `"constant"` nor `"reflect"`.
        """
        if pad_mode not in PAD_MODES:
            raise ValueError(f"`pad_mode` {pad_mode!r} is unknown; use one of {PAD_MODES}.")
        padding = dilation * (kernel_size - 1) + 1 - stride
        left = padding if causal else math.ceil(padding / 2)
        return cls(kernel_size, stride, dilation, left, mirrored=pad_mode == "reflect" and padding > 0)

    @property
    def reach(self) -> int:
        """Receptive field of an output, in inputs."""
        return self.dilation * (self.kernel_size - 1) + 1

    @property
    def right(self) -> int:
        """Padding after the signal."""
        return self.reach - self.stride - self.left

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Pad and convolve; (batch, in, time) -> (batch, out, time / stride)."""
        in_convolution = self.left == self.right and not self.mirrored
        if not in_convolution:
            x = self.pad(x)
        return F.conv1d(x, weight, bias, self.stride, self.left if in_convolution else 0, self.dilation)

    def pad(self, x: Tensor) -> Tensor:
        """(..., time) -> (..., left + time + right)."""
        return reflect(x, self.left, self.right) if self.mirrored else F.pad(x, (self.left, self.right))

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, end) of inputs that the outputs [start, stop) read."""
        if self.mirrored:
            start = max(start, 0)  # an output before the first one mirrors an output that is already in the range
        first, last = start * self.stride - self.left, (stop - 1) * self.stride - self.left + self.reach
        if self.mirrored and first < 0:  # inputs before the first one mirror those after it. Inputs mirrored at the
            return 0, max(last, 1 - first)  # end are already in the range, since no layer pads more there
        return first, last


@dataclass(frozen=True)
class TransposedAlignment:
    """Alignment of a transposed convolution with a kernel of two strides.

    The full output is one stride too long: `cut` samples are removed on the left, the rest on the right.

    Args:
        stride (`int`): Outputs per input.
        cut (`int`): Outputs removed on the left, at most one stride.
    """

    stride: int
    cut: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve and cut; (batch, in, time) -> (batch, out, time * stride)."""
        # torch cuts both sides equally. If `cut` is more than half a stride, this cuts too much on the right, which
        # `output_padding` restores. If it is less than half, only slicing is used: on the CPU with several threads,
        # torch 2.13 computes wrong samples for an odd stride with a padding of half of it, rounded down.
        stop = x.shape[-1] * self.stride
        output_padding = 2 * self.cut - self.stride
        if 0 <= output_padding < self.stride:
            return F.conv_transpose1d(x, weight, bias, self.stride, self.cut, output_padding)[..., :stop]
        return self.slice(F.conv_transpose1d(x, weight, bias, self.stride), x.shape[-1])

    def slice(self, full: Tensor, time: int) -> Tensor:
        """Cut the full output of `time` inputs; (..., (time + 1) * stride) -> (..., time * stride)."""
        return full[..., self.cut : self.cut + time * self.stride]

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, end) of inputs that the outputs [start, stop) read."""
        return (start + self.cut) // self.stride - 1, (stop - 1 + self.cut) // self.stride + 1


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Reflection padding without repeating the end samples; (..., time) -> (..., left + time + right).

    As in EnCodec, a signal that is too short is first padded with zeros, and the end is cut by as many samples.
    """
    missing = max(left, right) + 1 - x.shape[-1]
    if missing <= 0:
        return F.pad(x, (left, right), mode="reflect")
    padded = F.pad(F.pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]
