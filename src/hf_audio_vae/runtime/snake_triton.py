"""Snake's forward and backward pass as one Triton kernel each; `modules.snake` has the formulas."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # samples of a row per program


def forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Same shapes as `snake`; the result is contiguous."""
    x = x.contiguous()
    y = torch.empty_like(x)
    grid, size = _grid(x)
    with torch.cuda.device_of(x):
        _forward_kernel[grid](x, *_vectors(x, frequency, inverse_magnitude), y, *x.shape[1:], size)
    return y


def backward(gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> tuple[Tensor, ...]:
    """Deterministic gradients of all three inputs, in their shapes and dtypes.

    Programs write partial sums of a channel to separate elements, because atomic additions would depend on the order.
    """
    x, gradient = x.contiguous(), gradient.contiguous()
    grad_x = torch.empty_like(x)
    grid, size = _grid(x)
    a, b = _vectors(x, frequency, inverse_magnitude)
    partial_sums = a.new_empty(2, *x.shape[:2], triton.cdiv(x.shape[2], size))
    with torch.cuda.device_of(x):
        _backward_kernel[grid](gradient, x, a, b, grad_x, *partial_sums, *x.shape[1:], size)
    grad_a, grad_b = partial_sums.sum(dim=(1, 3)).unsqueeze(-1).unsqueeze(1)
    return grad_x, grad_a.to(frequency.dtype), grad_b.to(inverse_magnitude.dtype)


def _vectors(x: Tensor, *factors: Tensor) -> tuple[Tensor, ...]:
    """(1, channels, 1) -> (channels,), in the dtype of the computation."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, factors[0].dtype), torch.float32)
    return tuple(factor.to(dtype).flatten() for factor in factors)


def _grid(x: Tensor) -> tuple[tuple[int], int]:
    """Return the grid and the samples per program; one dimension, since the others are limited to 65,535."""
    batch, channels, time = x.shape
    size = min(BLOCK, triton.next_power_of_2(time))
    return (batch * channels * triton.cdiv(time, size),), size


@triton.jit
def _position(channels, time, size: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the channel of this program, its offsets into the signal and their mask."""
    programs = tl.cdiv(time, size)
    row = tl.program_id(0) // programs
    steps = (tl.program_id(0) % programs) * size + tl.arange(0, size)
    return row % channels, row.to(tl.int64) * time + steps, steps < time


@triton.jit
def _forward_kernel(x_ptr, a_ptr, b_ptr, y_ptr, channels, time, size: tl.constexpr):  # type: ignore[no-untyped-def]
    channel, offsets, valid = _position(channels, time, size)
    a, b = tl.load(a_ptr + channel), tl.load(b_ptr + channel)
    x = tl.load(x_ptr + offsets, mask=valid, other=0.0).to(a.dtype)
    sine = tl.sin(a * x)
    tl.store(y_ptr + offsets, x + b * sine * sine, mask=valid)


@triton.jit
def _backward_kernel(  # type: ignore[no-untyped-def]
    gradient_ptr, x_ptr, a_ptr, b_ptr, grad_x_ptr, grad_a_ptr, grad_b_ptr, channels, time, size: tl.constexpr
):
    channel, offsets, valid = _position(channels, time, size)
    a, b = tl.load(a_ptr + channel), tl.load(b_ptr + channel)
    x = tl.load(x_ptr + offsets, mask=valid, other=0.0).to(a.dtype)
    gradient = tl.load(gradient_ptr + offsets, mask=valid, other=0.0).to(a.dtype)
    sine = tl.sin(a * x)
    weighted = 2 * gradient * sine * tl.cos(a * x)
    tl.store(grad_x_ptr + offsets, gradient + a * b * weighted, mask=valid)
    tl.store(grad_a_ptr + tl.program_id(0), tl.sum(weighted * x) * b)
    tl.store(grad_b_ptr + tl.program_id(0), tl.sum(gradient * sine * sine))
