"""Snake's forward and backward pass as one compiled kernel each, on the CPU; what they compute is said in `snake`."""

import torch
from torch import Tensor

from hf_audio_vae.modules.native import native_kernels


def takes(x: Tensor) -> bool:
    """Whether the kernels compute for such a tensor, and anything compiles them."""
    return x.dtype == torch.float32 and native_kernels(torch.float32) is not None


def forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Shapes as those of `snake`; the result is contiguous."""
    x = x.contiguous()
    y = torch.empty_like(x)
    _run("snake_forward", (x, y), x, frequency, inverse_magnitude)
    return y


def backward(gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> tuple[Tensor, ...]:
    """Gradients of all three, in shape and type of theirs; the same at every run."""
    x, gradient = x.contiguous(), gradient.contiguous()
    of_x = torch.empty_like(x)
    of_rows = x.new_empty(2, *x.shape[:2], 1)  # of each channel of each item
    _run("snake_backward", (gradient, x, of_x, *of_rows), x, frequency, inverse_magnitude)
    of_frequency, of_inverse_magnitude = of_rows.sum(dim=1, keepdim=True)
    return of_x, of_frequency.to(frequency.dtype), of_inverse_magnitude.to(inverse_magnitude.dtype)


def _run(name: str, tensors: tuple[Tensor, ...], x: Tensor, *factors: Tensor) -> None:
    kernels = native_kernels(torch.float32)
    batch, channels, time = x.shape
    by_row = (factor.float().expand(batch, channels, 1).contiguous() for factor in factors)
    if kernels is not None and time:
        kernels.call(name, *tensors, batch * channels, time, *by_row)
