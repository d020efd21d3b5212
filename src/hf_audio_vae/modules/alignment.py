"""Where a convolution over time stands: how its input is padded, and which inputs its outputs read.

Time stays aligned: `time` inputs give exactly ``time / stride`` outputs, or ``time * stride`` of a transposed
convolution. Chained backwards through a network, `span` gives the halo that exact chunked coding needs.
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
        stride (`int`): Inputs an output.
        dilation (`int`): Inputs from one tap to the next.
        left (`int`): Padding before the signal; `right` is the rest of what keeps the lengths.
        mirrored (`bool`): Padding is the mirrored signal, not zeros.
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
        """Pad on the left only if `causal`, else on both sides, where an odd padding has its larger half left.

        Raises:
            ValueError: `pad_mode` is neither `"constant"` nor `"reflect"`.
        """
        if pad_mode not in PAD_MODES:
            raise ValueError(f"`pad_mode` {pad_mode!r} is none of {PAD_MODES}.")
        padding = dilation * (kernel_size - 1) + 1 - stride
        left = padding if causal else math.ceil(padding / 2)
        return cls(kernel_size, stride, dilation, left, mirrored=pad_mode == "reflect" and padding > 0)

    @property
    def reach(self) -> int:
        """Inputs from the first one that an output reads to the last."""
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
        """Return the first input and the one past the last that the outputs [start, stop) read."""
        if self.mirrored:
            start = max(start, 0)  # an output before the first one stands for one that is mirrored, which is named too
        first, last = start * self.stride - self.left, (stop - 1) * self.stride - self.left + self.reach
        if self.mirrored and first < 0:  # inputs before the first one are those as far after it; what is mirrored at
            return 0, max(last, 1 - first)  # the end is among those that are read anyway: no layer pads more there
        return first, last


@dataclass(frozen=True)
class TransposedAlignment:
    """Alignment of a transposed convolution with a kernel of two strides.

    The full output has one stride too many: `cut` of it is cut on the left, the rest on the right.

    Args:
        stride (`int`): Outputs an input.
        cut (`int`): Outputs that are cut on the left, at most a stride.
    """

    stride: int
    cut: int

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Convolve and cut; (batch, in, time) -> (batch, out, time * stride)."""
        # torch cuts the same on both sides. If `cut` is more than half a stride, that is too much on the right, which
        # one sample of `output_padding` brings back. Less than half is cut by slicing alone: on the CPU with several
        # threads, torch 2.13 computes wrong samples at odd strides and a padding of half of it, rounded down.
        stop = x.shape[-1] * self.stride
        missing = 2 * self.cut - self.stride
        if 0 <= missing < self.stride:
            return F.conv_transpose1d(x, weight, bias, self.stride, self.cut, missing)[..., :stop]
        return self.slice(F.conv_transpose1d(x, weight, bias, self.stride), x.shape[-1])

    def slice(self, full: Tensor, time: int) -> Tensor:
        """Cut the full output of `time` inputs; (..., (time + 1) * stride) -> (..., time * stride)."""
        return full[..., self.cut : self.cut + time * self.stride]

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first input and the one past the last that the outputs [start, stop) read."""
        return (start + self.cut) // self.stride - 1, (stop - 1 + self.cut) // self.stride + 1


def reflect(x: Tensor, left: int, right: int) -> Tensor:
    """Mirror a signal at its ends, without the end samples; (..., time) -> (..., left + time + right).

    As in EnCodec, zeros continue a signal that is too short for that, and the end is cut by as many samples.
    """
    missing = max(left, right) + 1 - x.shape[-1]
    if missing <= 0:
        return F.pad(x, (left, right), mode="reflect")
    padded = F.pad(F.pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]
