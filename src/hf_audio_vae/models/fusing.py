"""The inference form of a model with an encoder and a decoder."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils import logging
from torch import Tensor, nn

from hf_audio_vae.modules.convolution import fold_weight_norm
from hf_audio_vae.modules.deferral import require

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class FusedForm:
    """An encoder and a decoder for inference, made of the weights as they were then.

    Args:
        encoder (`FusedStack` or `torch.nn.Module`): Compiled kernels, or a copy with folded weights.
        decoder (`FusedStack` or `torch.nn.Module`): Likewise.
        weights (`tuple`): Address, write count and first value of each parameter, to detect changes.
    """

    encoder: Any
    decoder: Any
    weights: tuple[list[tuple[int, int]], Tensor]


class FusedMixin:
    """Adds an inference form to a model whose `encoder` and `decoder` tell their `layers()`.

    It stands before the model's other bases: what they copy and pickle is to be without the form.
    """

    encoder: Any
    decoder: Any
    _fused: FusedForm | None = None

    def fuse(self) -> None:
        """Make encoder and decoder ready for inference: several times as fast on a CPU, at a small constant memory.

        Weight norm is folded. On a CPU with a C compiler, in float32 and, where the processor multiplies it, bfloat16,
        compiled kernels then take the convolutions with their Snakes, chunk by chunk, each value computed once. In
        float32, results are the same to 1e-5 of the largest. Layers without a kernel (LSTM, group norm, mirrored
        padding, ELU), other devices and other types keep torch's layers, on the folded weights.

        The model itself does not change: it trains, saves and moves as before. `encode`, `decode` and the call itself
        use the fused form where no gradients are recorded (`torch.no_grad()`, `torch.inference_mode()`), and `encode`
        and `decode` that are compiled or exported do not. The form takes up to twice the memory of the weights.

        Example:
            >>> from hf_audio_vae import WaveformVAE
            >>> model = WaveformVAE(8, (2, 5), (1, 2), 8, 4, audio_channels=1, sampling_rate=16000).eval()
            >>> latents = torch.randn(1, 4, 100)
            >>> with torch.no_grad():
            ...     plain = model.decode(latents).sample
            ...     model.fuse()
            ...     fused = model.decode(latents).sample
            >>> bool((fused - plain).abs().max() < 1e-5 * plain.abs().max())
            True
            >>> model.unfuse()
        """
        self._fused = FusedForm(_fused(self.encoder), _fused(self.decoder), (_places(self), _first_values(self)))

    def unfuse(self) -> None:
        """Go back to the layers themselves, and free the fused form."""
        self._fused = None

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {**state, "_fused": None}  # made of the weights where they are: copies fuse theirs

    def _form(self, x: Tensor | None = None) -> Any:
        """Return what has the encoder and the decoder to use for `x`: the fused form, or the model.

        Raises:
            ValueError: The weights are not those that were fused.
        """
        if self._fused is None or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self
        weight = next(self.encoder.parameters())
        if x is not None and x.is_floating_point() and (x.dtype, x.device) != (weight.dtype, weight.device):
            return self  # whose layers say what is wrong
        places, firsts = self._fused.weights
        if places != _places(self):
            raise _changed_weights()
        require(lambda: _same(firsts, _first_values(self)), _changed_weights)
        return self._fused


def _places(model: Any) -> list[tuple[int, int]]:
    """Address of each parameter, and how often torch has counted a write to it."""
    return [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters()]


def _first_values(model: Any) -> Tensor:
    """First value of each parameter, (parameters,): torch does not count writes to `.data`."""
    return torch.stack([p.detach().flatten()[0].float() for p in model.parameters()])


def _same(a: Tensor, b: Tensor) -> Tensor:
    return ((a == b) | (a.isnan() & b.isnan())).all()


def _changed_weights() -> ValueError:
    return ValueError(
        "the weights have changed since `fuse()`, which made its form of them as they were; call `fuse()` again, or "
        "`unfuse()` before weights are trained, loaded or moved."
    )


def chunks_itself(part: object) -> bool:
    """Whether it runs on compiled kernels, in chunks of its own, and is no module of torch's layers."""
    return not isinstance(part, nn.Module)


@torch.no_grad()
def _fused(part: Any) -> Any:
    stack = _kernel_stack(part)
    if stack is not None:
        return stack
    folded = copy.deepcopy(part)
    fold_weight_norm(folded)
    return folded


def _kernel_stack(part: Any) -> Any:
    """Return the layers on compiled kernels, `None` if there are none for them."""
    try:
        from hf_audio_vae.modules.fused import FusedStack
        from hf_audio_vae.modules.native import native_kernels
    except ImportError:  # this file is read without its package
        return None
    weight = next(part.parameters())
    kernels = native_kernels(weight.dtype) if weight.device.type == "cpu" else None
    if kernels is None:
        return None
    try:
        return FusedStack(part.layers(), kernels)
    except ValueError as error:
        logger.info(f"{type(part).__name__} keeps torch's layers: {error}")
        return None
