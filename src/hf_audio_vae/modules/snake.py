"""Snake as one autograd operation that saves only its inputs for the backward pass.

For the plain formula `x + b * sin(a * x).square()`, autograd saves four tensors of the input's size. Here they are
recomputed block by block, so that intermediate results stay in the CPU cache.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

BLOCK = 2**17  # elements per thread at a time: half a MiB in float32; a few blocks have to fit a core's cache


def snake(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Return ``x + inverse_magnitude sin²(frequency x)``, computed in float32 or higher and rounded once.

    Args:
        x (`torch.Tensor` of shape `(batch, channels, time)`): Input of any floating dtype.
        frequency (`torch.Tensor` of shape `(1, channels, 1)`): Radians per unit of `x`.
        inverse_magnitude (`torch.Tensor` of shape `(1, channels, 1)`): Factor of the square.

    Returns:
        `torch.Tensor` of the shape and dtype of `x`; supports higher-order gradients.

    Example:
        >>> one = torch.ones(1, 1, 1)
        >>> snake(torch.tensor([[[0.0, torch.pi / 2, torch.pi]]]), one, one)
        tensor([[[0.0000, 2.5708, 3.1416]]])
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return written_out(x, frequency, inverse_magnitude)  # compilers fuse it and choose the saved tensors
    return _Snake.apply(x, frequency, inverse_magnitude)


class SnakeKernels(Protocol):
    """Snake's forward and backward pass for one type of device."""

    def takes(self, *tensors: Tensor) -> bool:
        """Whether the kernels support these tensors."""

    def forward(self, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
        """Same shapes as `snake`; the result is contiguous."""

    def backward(
        self, gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor
    ) -> tuple[Tensor, ...]:
        """Deterministic gradients of all three inputs, in their shapes and dtypes."""


_registered: dict[str, SnakeKernels] = {}


def use_kernels(device_type: str, kernels: SnakeKernels | None) -> SnakeKernels | None:
    """Set the kernels of Snake for a device type; `None` selects torch operations.

    Args:
        device_type (`str`): `"cpu"` or `"cuda"`.
        kernels (`SnakeKernels`, *optional*): The kernels.

    Returns:
        The kernels used before, if any.
    """
    previous = _registered.pop(device_type, None)
    if kernels is not None:
        _registered[device_type] = kernels
    return previous


def uses_kernels(device_type: str) -> bool:
    """Whether Snake has kernels for a device type."""
    return device_type in _registered


def written_out(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Compute `snake` by its formula."""
    x_float = x.to(_computing_type(x, frequency))
    return (x_float + inverse_magnitude * torch.sin(frequency * x_float).square()).to(x.dtype)


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
        return _forward(x, frequency, inverse_magnitude)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, ...]:
        # Higher-order gradients need recorded operations; autograd cannot record the in-place writes to blocks.
        differentiate = _written_out_backward if torch.is_grad_enabled() else _backward
        return differentiate(grad_output, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, frequency, inverse_magnitude = ctx.saved_tensors
        dx, df, dm = (0 if tangent is None else tangent for tangent in tangents)
        angle = frequency * x
        tangent = dx + inverse_magnitude * torch.sin(2 * angle) * (frequency * dx + df * x) + dm * angle.sin().square()
        return tangent.to(x.dtype)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        moved = (t if dim is None else t.movedim(dim, 0) for t, dim in zip(inputs, in_dims, strict=True))
        return written_out(*moved), 0


def _forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    if kernels := kernels_for(x, frequency, inverse_magnitude):
        return kernels.forward(x, frequency, inverse_magnitude)
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    dtype, output = _computing_type(x, frequency), y.flatten(0, 1)
    rows, by_row = x.flatten(0, 1), _by_row(x, frequency, inverse_magnitude)
    for block in _blocks(rows):
        values, (a, b) = rows[block].to(dtype), (factor[block[0]] for factor in by_row)
        square = (values * a).sin_().square_()
        torch.addcmul(values, square, b, out=output[block])
    return y


def _backward(grad_output: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> tuple[Tensor, ...]:
    if kernels := kernels_for(x, frequency, inverse_magnitude):
        return kernels.backward(grad_output, x, frequency, inverse_magnitude)
    grad_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    dtype, output = _computing_type(x, frequency), grad_x.flatten(0, 1)
    rows, grad_rows = x.flatten(0, 1), grad_output.flatten(0, 1)
    a, b = (factor.to(dtype) for factor in _by_row(x, frequency, inverse_magnitude))
    slope, grad_a, grad_b = 2 * a * b, torch.zeros_like(a), torch.zeros_like(b)
    for block in _blocks(rows):
        channels = block[0]
        values, grad = rows[block].to(dtype), grad_rows[block].to(dtype)
        angle = values * a[channels]
        cosine, sine = angle.cos(), angle.sin_()
        weighted = grad * sine
        grad_b[channels] += sine.mul_(weighted).sum(dim=1, keepdim=True)
        weighted.mul_(cosine)
        grad_a[channels] += torch.mul(weighted, values, out=sine).sum(dim=1, keepdim=True)
        torch.addcmul(grad, weighted, slope[channels], out=output[block])
    summed = (grad.view(*x.shape[:2], 1).sum(dim=0, keepdim=True) for grad in (grad_a.mul_(2 * b), grad_b))
    grad_frequency, grad_inverse_magnitude = summed
    return grad_x, grad_frequency.to(frequency.dtype), grad_inverse_magnitude.to(inverse_magnitude.dtype)


def _written_out_backward(
    grad_output: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor
) -> tuple[Tensor, ...]:
    x_float, grad = (t.to(_computing_type(x, frequency)) for t in (x, grad_output))
    angle = frequency * x_float
    weighted = grad * torch.sin(2 * angle)
    grad_x = grad + frequency * inverse_magnitude * weighted
    grad_frequency = (weighted * x_float).sum(dim=(0, 2), keepdim=True) * inverse_magnitude
    grad_inverse_magnitude = (grad * angle.sin().square()).sum(dim=(0, 2), keepdim=True)
    return grad_x.to(x.dtype), grad_frequency.to(frequency.dtype), grad_inverse_magnitude.to(inverse_magnitude.dtype)


def _computing_type(x: Tensor, frequency: Tensor) -> torch.dtype:
    """Dtype of the computation, float32 or higher."""
    return torch.promote_types(torch.promote_types(x.dtype, frequency.dtype), torch.float32)


def _by_row(x: Tensor, *factors: Tensor) -> tuple[Tensor, ...]:
    """One value per channel -> one per row, (batch * channels, 1)."""
    return tuple(factor.expand(*x.shape[:2], 1).flatten(0, 1) for factor in factors)


def _blocks(rows: Tensor) -> Iterator[tuple[slice, slice]]:
    """Split (rows, time) into blocks of whole rows, or a row longer than a block into parts."""
    count, time = rows.shape
    size = BLOCK * torch.get_num_threads() if rows.device.type == "cpu" else max(rows.numel(), 1)
    for row in range(0, count, size // time or 1) if time else ():
        for start in range(0, time, size):
            yield slice(row, row + (size // time or 1)), slice(start, start + size)


def kernels_for(x: Tensor, *factors: Tensor) -> SnakeKernels | None:
    """Return the kernels that support these tensors, if any."""
    kernels = _registered.get(x.device.type)
    return kernels if kernels is not None and x.numel() and kernels.takes(x, *factors) else None
