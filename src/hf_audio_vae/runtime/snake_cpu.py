"""Snake's forward and backward pass as one compiled kernel each, on the CPU; `modules.snake` has the formulas."""

import torch
from torch import Tensor

from hf_audio_vae.modules.snake import use_kernels, uses_kernels
from hf_audio_vae.runtime.native import native_kernels


class CompiledSnake:
    """`SnakeKernels` for float32 on the CPU."""

    def takes(self, *tensors: Tensor) -> bool:
        """Whether the kernels support these tensors."""
        float32_on_cpu = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
        return float32_on_cpu and native_kernels(torch.float32) is not None

    def forward(self, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor) -> Tensor:
        """Same shapes as `snake`; the result is contiguous."""
        x = x.contiguous()
        y = torch.empty_like(x)
        self._run("snake_forward", (x, y), x, frequency, inverse_magnitude)
        return y

    def backward(
        self, gradient: Tensor, x: Tensor, frequency: Tensor, inverse_magnitude: Tensor
    ) -> tuple[Tensor, ...]:
        """Deterministic gradients of all three inputs, in their shapes."""
        x, gradient = x.contiguous(), gradient.contiguous()
        grad_x = torch.empty_like(x)
        grad_rows = x.new_empty(2, *x.shape[:2], 1)  # one sum per item and channel
        self._run("snake_backward", (gradient, x, grad_x, *grad_rows), x, frequency, inverse_magnitude)
        grad_frequency, grad_inverse_magnitude = grad_rows.sum(dim=1, keepdim=True)
        return grad_x, grad_frequency, grad_inverse_magnitude

    def _run(self, name: str, tensors: tuple[Tensor, ...], x: Tensor, *factors: Tensor) -> None:
        kernels = native_kernels(torch.float32)
        if kernels is None:
            raise RuntimeError("there are no kernels; call `takes` first.")
        batch, channels, time = x.shape
        by_row = (factor.expand(batch, channels, 1).contiguous() for factor in factors)
        kernels.call(name, *tensors, batch * channels, time, *by_row)


def allow_compiled_kernels(allowed: bool = True) -> bool:
    """Allow Snake and autoregressive generation on a CPU to use compiled kernels, built on first use.

    Returns whether they were allowed before.

    The default is not to allow them, so that loading and running a model starts no compiler. The training scripts
    allow them, and `fuse()` compiles its own kernels.
    """
    return use_kernels("cpu", CompiledSnake() if allowed else None) is not None


def compiled_kernels_are_allowed() -> bool:
    """Whether `allow_compiled_kernels` was called."""
    return uses_kernels("cpu")
