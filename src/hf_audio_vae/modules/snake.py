"""Snake as one operation that keeps its input and nothing else for the backward pass.

Written out, `x + b * sin(a * x).square()` makes autograd keep four tensors of the input's size. Here they are computed
again, a block at a time, so that on a CPU what lies between two operations stays in the cache.
"""

import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

_compiled_kernels_allowed = False

BLOCK = 2**17  # numbers a thread takes at a time: half a MiB in float32, of which a few have to fit a core's cache


def snake(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Return ``x + inverse_magnitude sin²(frequency x)``, computed in float32 at least and rounded once.

    Args:
        x (`torch.Tensor` of shape `(batch, channels, time)`): What goes in, of any floating type.
        frequency (`torch.Tensor` of shape `(1, channels, 1)`): Radians per unit of `x`.
        inverse_magnitude (`torch.Tensor` of shape `(1, channels, 1)`): Factor of the square.

    Returns:
        `torch.Tensor` of the shape and type of `x`; it can be differentiated any number of times.

    Example:
        >>> one = torch.ones(1, 1, 1)
        >>> snake(torch.tensor([[[0.0, torch.pi / 2, torch.pi]]]), one, one)
        tensor([[[0.0000, 2.5708, 3.1416]]])
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return written_out(x, frequency, inverse_magnitude)  # compilers fuse, and choose what to keep, by themselves
    return _Snake.apply(x, frequency, inverse_magnitude)


def allow_compiled_kernels(allowed: bool = True) -> bool:
    """Let Snake on a CPU use kernels that a C compiler makes on first use; return whether it was allowed before.

    It is not allowed by default: a model that is loaded and run starts no compiler. The training scripts allow it, and
    `fuse()` compiles kernels of its own.
    """
    global _compiled_kernels_allowed
    before, _compiled_kernels_allowed = _compiled_kernels_allowed, allowed
    return before


def written_out(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Compute `snake` by its formula."""
    wide = x.to(_wide_type(x, frequency))
    return (wide + inverse_magnitude * torch.sin(frequency * wide).square()).to(x.dtype)


class _Snake(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
        return _forward(x, frequency, inverse_magnitude)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        # Gradients are recorded where they are to be differentiated again, and blocks written in place cannot be.
        differentiate = _written_out_backward if torch.is_grad_enabled() else _backward
        return differentiate(gradient, *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        x, frequency, inverse_magnitude = ctx.saved_tensors
        dx, df, dm = (0 if tangent is None else tangent for tangent in tangents)
        angle = frequency * x
        along = dx + inverse_magnitude * torch.sin(2 * angle) * (frequency * dx + df * x) + dm * angle.sin().square()
        return along.to(x.dtype)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        moved = (t if dim is None else t.movedim(dim, 0) for t, dim in zip(inputs, in_dims, strict=True))
        return written_out(*moved), 0


def _forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    if kernels := _kernels(x, frequency, inverse_magnitude):
        return kernels.forward(x, frequency, inverse_magnitude)
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    wide, into = _wide_type(x, frequency), y.flatten(0, 1)
    rows, by_row = x.flatten(0, 1), _by_row(x, frequency, inverse_magnitude)
    for block in _blocks(rows):
        part, (a, b) = rows[block].to(wide), (factor[block[0]] for factor in by_row)
        square = (part * a).sin_().square_()
        torch.addcmul(part, square, b, out=into[block])
    return y


def _backward(gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> tuple[Tensor, ...]:
    if kernels := _kernels(x, frequency, inverse_magnitude):
        return kernels.backward(gradient, x, frequency, inverse_magnitude)
    of_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    wide, into = _wide_type(x, frequency), of_x.flatten(0, 1)
    rows, from_rows = x.flatten(0, 1), gradient.flatten(0, 1)
    a, b = (factor.to(wide) for factor in _by_row(x, frequency, inverse_magnitude))
    slope, of_a, of_b = 2 * a * b, torch.zeros_like(a), torch.zeros_like(b)
    for block in _blocks(rows):
        channels = block[0]
        part, above = rows[block].to(wide), from_rows[block].to(wide)
        angle = part * a[channels]
        cosine, sine = angle.cos(), angle.sin_()
        weighted = above * sine
        of_b[channels] += sine.mul_(weighted).sum(dim=1, keepdim=True)
        weighted.mul_(cosine)
        of_a[channels] += torch.mul(weighted, part, out=sine).sum(dim=1, keepdim=True)
        torch.addcmul(above, weighted, slope[channels], out=into[block])
    by_item = (of.view(*x.shape[:2], 1).sum(dim=0, keepdim=True) for of in (of_a.mul_(2 * b), of_b))
    of_frequency, of_inverse_magnitude = by_item
    return of_x, of_frequency.to(frequency.dtype), of_inverse_magnitude.to(inverse_magnitude.dtype)


def _written_out_backward(
    gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor
) -> tuple[Tensor, ...]:
    wide, above = (t.to(_wide_type(x, frequency)) for t in (x, gradient))
    angle = frequency * wide
    weighted = above * torch.sin(2 * angle)
    of_x = above + frequency * inverse_magnitude * weighted
    of_frequency = (weighted * wide).sum(dim=(0, 2), keepdim=True) * inverse_magnitude
    of_inverse_magnitude = (above * angle.sin().square()).sum(dim=(0, 2), keepdim=True)
    return of_x.to(x.dtype), of_frequency.to(frequency.dtype), of_inverse_magnitude.to(inverse_magnitude.dtype)


def _wide_type(x: Tensor, frequency: Tensor) -> torch.dtype:
    """Type to compute in."""
    return torch.promote_types(torch.promote_types(x.dtype, frequency.dtype), torch.float32)


def _by_row(x: Tensor, *factors: Tensor) -> tuple[Tensor, ...]:
    """One number a channel -> one a row, (batch * channels, 1)."""
    return tuple(factor.expand(*x.shape[:2], 1).flatten(0, 1) for factor in factors)


def _blocks(rows: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut (rows, time) into whole rows, or one row into parts where it is longer than a block."""
    count, time = rows.shape
    size = BLOCK * torch.get_num_threads() if rows.device.type == "cpu" else max(rows.numel(), 1)
    for row in range(0, count, size // time or 1) if time else ():
        for start in range(0, time, size):
            yield slice(row, row + (size // time or 1)), slice(start, start + size)


def _kernels(x: Tensor, *factors: Tensor) -> ModuleType | None:
    """The kernels for these, if their devices and types have any."""
    if not x.numel():
        return None
    if x.is_cuda:
        return _triton_kernels()
    kernels = _compiled_kernels() if _compiled_kernels_allowed else None
    return kernels if kernels is not None and kernels.takes(x, *factors) else None


@cache
def _compiled_kernels() -> ModuleType | None:
    try:
        import hf_audio_vae.modules.snake_native as kernels
    except ImportError:  # this file is read without its package
        return None
    return kernels


@cache
def _triton_kernels() -> ModuleType | None:
    one = torch.ones(1, 1, 1, device="cuda")
    try:
        import hf_audio_vae.modules.snake_triton as kernels

        kernels.forward(one, one, one)
        kernels.backward(one, one, one, one)
    except (
        Exception
    ) as error:  # no triton, no compiler for what it launches with, a device it does not know: all differ
        warnings.warn(f"Snake runs without kernels on this device: {error}", stacklevel=2)
        return None
    return kernels
