"""Snake's kernels for CUDA, compiled on first use; without Triton, torch's operations are used."""

import warnings
from functools import cache

import torch
from torch import Tensor


class TritonSnake:
    """`SnakeKernels` for any floating dtype on a CUDA device."""

    def takes(self, *tensors: Tensor) -> bool:
        """Whether the kernels run on this machine."""
        return _run_here()

    def forward(self, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
        """Same shapes as `snake`; the result is contiguous."""
        from hf_audio_vae.runtime import snake_triton

        return snake_triton.forward(x, frequency, inverse_magnitude)

    def backward(
        self, gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor
    ) -> tuple[Tensor, ...]:
        """Deterministic gradients of all three inputs, in their shapes and dtypes."""
        from hf_audio_vae.runtime import snake_triton

        return snake_triton.backward(gradient, x, frequency, inverse_magnitude)


@cache
def _run_here() -> bool:
    one = torch.ones(1, 1, 1, device="cuda")
    kernels = TritonSnake()
    try:
        kernels.forward(one, one, one)
        kernels.backward(one, one, one, one)
    except Exception as error:  # no Triton, no compiler for its launcher, an unknown device: each raises its own type
        warnings.warn(f"Snake runs without kernels on this device: {error}", stacklevel=2)
        return False
    return True
