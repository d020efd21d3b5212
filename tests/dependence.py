"""Which inputs an output reads, found from the network itself and not from what its layers say of themselves."""

from collections.abc import Callable

import torch
from torch import Tensor


@torch.enable_grad()
def inputs_read(module: Callable[[Tensor], Tensor], x: Tensor, start: int, stop: int) -> tuple[int, int]:
    """Return the first input, and the one past the last, whose change moves the outputs [start, stop).

    Inputs outside have a gradient of exactly zero, the first and the last one inside another. A random cotangent keeps
    the gradients of several outputs from cancelling.
    """
    x = x.detach().requires_grad_()
    read = module(x)[..., start:stop]
    cotangent = torch.randn(read.shape, generator=torch.Generator().manual_seed(0), dtype=read.dtype)
    (gradient,) = torch.autograd.grad(read, x, cotangent)
    moved = gradient.abs().amax(dim=(0, 1)).nonzero()
    return int(moved[0]), int(moved[-1]) + 1


def clipped(span: tuple[int, int], length: int) -> tuple[int, int]:
    """Return what is left of a span inside [0, length)."""
    return max(span[0], 0), min(span[1], length)
