"""Base class of quantizers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.deferral import require
from hf_audio_vae.modules.integers import is_integer
from hf_audio_vae.modules.quantization.output import QuantizerOutput

Generators = torch.Generator | list[torch.Generator] | None


class Quantizer(nn.Module, ABC):
    """Latents (batch, channels, frames) to codes (batch, num_codebooks, frames), and back.

    Everything is computed in the dtype of the codebooks, without autocast and without TF32: half precision may select
    a code that is not the nearest.
    """

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook, in the order of the codes."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Dtype of the codebooks."""

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses."""
        return ()

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        num_codebooks: int | None = None,
        generator: Generators = None,
    ) -> QuantizerOutput:
        """Quantize with a gradient and losses; in training mode the codebooks learn.

        A latent that is not finite makes the losses NaN (or the quantized latents, if there are no losses), so that a
        training loop can skip the step. Codebooks do not learn from it, nor from a latent whose loss overflows.

        Args:
            latents (`torch.Tensor` of shape `(batch, channels, frames)`): Output of an encoder.
            mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): True for valid frames; the others are
                excluded from the losses and from the learning of the codebooks.
            num_codebooks (`int`, *optional*): Number of codebooks to use, from the first; all by default.
            generator (`torch.Generator` or list of one per item, *optional*): Generator for dropout.

        Raises:
            ValueError: `num_codebooks` is out of range, or the numbers of generators and items differ.
        """
        count = self.checked_count(num_codebooks)
        self._check_present(latents)
        with full_precision(latents.device):
            return self._quantize(latents.to(self.dtype), mask, count, generator)

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Return the codes, int64 (batch, num_codebooks, frames), without learning.

        Raises:
            ValueError: Latents are NaN or infinite, or `num_codebooks` is out of range.
        """
        count = self.checked_count(num_codebooks)
        self._check_present(latents)
        with torch.no_grad(), full_precision(latents.device):
            codes, finite = self._search(latents.to(self.dtype), count)
        check_finite(finite)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents of integer codes, (batch, channels, frames); codes of the first codebooks suffice."""
        self.checked_count(codes.shape[1])
        self._check_present(codes)
        with full_precision(codes.device):
            return self._look_up(codes.long())

    @abstractmethod
    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        """Implement `forward`, in the dtype of the codebooks."""

    @abstractmethod
    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return codes (batch, count, frames) and whether each frame is finite, (batch, frames)."""

    @abstractmethod
    def _look_up(self, codes: Tensor) -> Tensor:
        """Return the latents of int64 codes."""

    def _check_present(self, x: Tensor) -> None:
        """Raise `ValueError` if hooks hold the weights elsewhere; they return them for single layers only."""
        weight = next(self.parameters(), None)
        if weight is not None and weight.is_meta and not x.is_meta:
            raise ValueError(
                "the quantizer's weights are offloaded layer by layer, but it uses several layers at once; offload "
                "the model as a whole (`cpu_offload_with_hook` of accelerate, `enable_model_cpu_offload`)."
            )

    def checked_count(self, num_codebooks: int | None) -> int:
        """Return the number of codebooks to use; raises `ValueError` if it is out of range."""
        available = len(self.codebook_sizes)
        if num_codebooks is not None and not is_integer(num_codebooks, least=1, most=available):
            raise ValueError(
                f"`num_codebooks` is {num_codebooks!r}; the model has {available}, ask for 1 to {available}."
            )
        return num_codebooks or available


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in the dtypes of the operands: no autocast and, on a GPU, no TF32."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda" or torch.compiler.is_compiling():
            yield
            return
        cudnn, matmul_precision = torch.backends.cudnn, torch.get_float32_matmul_precision()
        cudnn_tf32 = cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(matmul_precision)
            cudnn.allow_tf32 = cudnn_tf32


def check_finite(finite: Tensor) -> None:
    """Raise `ValueError` unless all elements are True."""
    require(
        finite.all,
        lambda: ValueError(
            f"{int((~finite).sum())} of {finite.numel()} latent vectors are NaN or infinite and have no nearest "
            f"code; encode in float32, or use weights from before the training diverged."
        ),
    )


def masked_mean(values: Tensor, mask: Tensor | None, used: Tensor | None = None) -> Tensor:
    """Mean of (batch, frames) over the frames of the mask; items (batch,) that are not used count as zero."""
    if used is not None:
        values = values * used[:, None]
    if mask is None:
        return values.mean()
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)
