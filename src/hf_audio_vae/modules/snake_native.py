"""Snake's forward and backward pass as one compiled kernel each, on the CPU; what they compute is said in `snake`."""

import torch
from torch import Tensor

from hf_audio_vae.modules.native import native_kernels


def takes(*tensors: Tensor) -> bool:
    """Whether there are kernels for such tensors."""
    plain = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
    return plain and native_kernels(torch.float32) is not None


def forward(x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
    """Shapes as those of `snake`; the result is contiguous."""
    x = x.contiguous()
    y = torch.empty_like(x)
    _run("snake_forward", (x, y), x, frequency, inverse_magnitude)
    return y


def backward(gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> tuple[Tensor, ...]:
    """Gradients of all three, in shape of theirs; the same at every run."""
    x, gradient = x.contiguous(), gradient.contiguous()
    of_x = torch.empty_like(x)
    of_rows = x.new_empty(2, *x.shape[:2], 1)  # of each channel of each item
    _run("snake_backward", (gradient, x, of_x, *of_rows), x, frequency, inverse_magnitude)
    of_frequency, of_inverse_magnitude = of_rows.sum(dim=1, keepdim=True)
    return of_x, of_frequency, of_inverse_magnitude


def _run(name: str, tensors: tuple[Tensor, ...], x: Tensor, *factors: Tensor) -> None:
    kernels = native_kernels(torch.float32)
    if kernels is None:
        raise RuntimeError("there are no kernels; ask `takes` first.")
    batch, channels, time = x.shape
    by_row = (factor.expand(batch, channels, 1).contiguous() for factor in factors)
    kernels.call(name, *tensors, batch * channels, time, *by_row)
