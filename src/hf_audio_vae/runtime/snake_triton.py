"""Snake's forward and backward pass as one Triton kernel each; `modules.snake` has the formulas."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # numbers of a row that a program takes


def forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Shapes as those of `snake`; the result is contiguous."""
    x = x.contiguous()
    y = torch.empty_like(x)
    grid, size = _grid(x)
    with torch.cuda.device_of(x):
        _forward_kernel[grid](x, *_vectors(x, frequency, inverse_magnitude), y, *x.shape[1:], size)
    return y


def backward(gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> tuple[Tensor, ...]:
    """Gradients of all three, in shape and type of theirs; the same at every run.

    Programs leave their shares of a channel's sums side by side, rather than to add them up in the order they finish.
    """
    x, gradient = x.contiguous(), gradient.contiguous()
    grad_x = torch.empty_like(x)
    grid, size = _grid(x)
    a, b = _vectors(x, frequency, inverse_magnitude)
    shares = a.new_empty(2, *x.shape[:2], triton.cdiv(x.shape[2], size))
    with torch.cuda.device_of(x):
        _backward_kernel[grid](gradient, x, a, b, grad_x, *shares, *x.shape[1:], size)
    grad_a, grad_b = shares.sum(dim=(1, 3)).unsqueeze(-1).unsqueeze(1)
    return grad_x, grad_a.to(frequency.dtype), grad_b.to(inverse_magnitude.dtype)


def _vectors(x: Tensor, *factors: Tensor) -> tuple[Tensor, ...]:
    """(1, channels, 1) -> (channels,), of the type to compute in."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, factors[0].dtype), torch.float32)
    return tuple(factor.to(dtype).flatten() for factor in factors)


def _grid(x: Tensor) -> tuple[tuple[int], int]:
    """Programs, in one dimension since the others end at 65,535, and how many numbers each takes."""
    batch, channels, time = x.shape
    size = min(BLOCK, triton.next_power_of_2(time))
    return (batch * channels * triton.cdiv(time, size),), size


@triton.jit
def _position(channels, time, size: tl.constexpr):  # type: ignore[no-untyped-def]
    """Where this program works: its channel, offsets into the signal, which of them there are."""
    programs = tl.cdiv(time, size)
    row = tl.program_id(0) // programs
    steps = (tl.program_id(0) % programs) * size + tl.arange(0, size)
    return row % channels, row.to(tl.int64) * time + steps, steps < time


@triton.jit
def _forward_kernel(x_at, a_at, b_at, y_at, channels, time, size: tl.constexpr):  # type: ignore[no-untyped-def]
    channel, at, inside = _position(channels, time, size)
    a, b = tl.load(a_at + channel), tl.load(b_at + channel)
    x = tl.load(x_at + at, mask=inside, other=0.0).to(a.dtype)
    sine = tl.sin(a * x)
    tl.store(y_at + at, x + b * sine * sine, mask=inside)


@triton.jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    gradient_at, x_at, a_at, b_at, grad_x_at, grad_a_at, grad_b_at, channels, time, size: tl.constexpr
):
    channel, at, inside = _position(channels, time, size)
    a, b = tl.load(a_at + channel), tl.load(b_at + channel)
    x = tl.load(x_at + at, mask=inside, other=0.0).to(a.dtype)
    gradient = tl.load(gradient_at + at, mask=inside, other=0.0).to(a.dtype)
    sine = tl.sin(a * x)
    weighted = 2 * gradient * sine * tl.cos(a * x)
    tl.store(grad_x_at + at, gradient + a * b * weighted, mask=inside)
    tl.store(grad_a_at + tl.program_id(0), tl.sum(weighted * x) * b)
    tl.store(grad_b_at + tl.program_id(0), tl.sum(gradient * sine * sine))
