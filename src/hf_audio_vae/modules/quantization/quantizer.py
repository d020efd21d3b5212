"""What every quantizer offers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.deferral import require
from hf_audio_vae.modules.quantization.output import QuantizerOutput

Generators = torch.Generator | list[torch.Generator] | None


class Quantizer(nn.Module, ABC):
    """Latents (batch, channels, frames) to codes (batch, num_codebooks, frames), and back.

    All is computed in the type of the codebooks, without autocast and without TF32: a code that is nearest in half
    precision may not be the nearest.
    """

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook, in the order of the codes."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type of the codebooks."""

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        num_codebooks: int | None = None,
        generator: Generators = None,
    ) -> QuantizerOutput:
        """Quantize, with a gradient and losses; in training mode the codebooks learn.

        A latent that is not finite makes the losses NaN, or without losses what is quantized, which a training loop
        can see and skip, and teaches nothing; nor does one whose loss overflows.

        Args:
            latents (`torch.Tensor` of shape `(batch, channels, frames)`): From an encoder.
            mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): True where there is sound; what is not counts
                in no loss and teaches no codebook.
            num_codebooks (`int`, *optional*): Use only the first so many.
            generator (`torch.Generator` or a list of them, one an item, *optional*): What is random of an item.

        Raises:
            ValueError: There are not so many codebooks, or not as many generators as items.
        """
        count = self.checked_count(num_codebooks)
        with full_precision(latents.device):
            return self._quantize(latents.to(self.dtype), mask, count, generator)

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Return the codes, int64 (batch, num_codebooks, frames); learns nothing.

        Raises:
            ValueError: Latents are NaN or infinite, or there are not so many codebooks.
        """
        count = self.checked_count(num_codebooks)
        with torch.no_grad(), full_precision(latents.device):
            codes, finite = self._search(latents.to(self.dtype), count)
        check_finite(finite)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return what integer codes stand for, (batch, channels, frames); of several codebooks, the first ones do."""
        self.checked_count(codes.shape[1])
        with full_precision(codes.device):
            return self._look_up(codes.long())

    @abstractmethod
    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        """Do the work of `forward`, in the type of the codebooks."""

    @abstractmethod
    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return codes (batch, count, frames), and whether each frame is finite, (batch, frames)."""

    @abstractmethod
    def _look_up(self, codes: Tensor) -> Tensor:
        """Return what int64 codes stand for."""

    def checked_count(self, num_codebooks: int | None) -> int:
        """Return how many codebooks to use; a `ValueError` if there are not so many."""
        available = len(self.codebook_sizes)
        if num_codebooks is not None and not 1 <= num_codebooks <= available:
            raise ValueError(
                f"`num_codebooks` is {num_codebooks}; the model has {available}, ask for 1 to {available}."
            )
        return num_codebooks or available


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in the types of the operands: no autocast and, on a GPU, no TF32."""
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda" or torch.compiler.is_compiling():
            yield
            return
        cudnn, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
        convolutions = cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        cudnn.allow_tf32 = False
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(products)
            cudnn.allow_tf32 = convolutions


def check_finite(finite: Tensor) -> None:
    """Raise `ValueError` unless all is True."""
    require(
        finite.all,
        lambda: ValueError(
            f"{int((~finite).sum())} of {finite.numel()} latent vectors are NaN or infinite, so that no code is the "
            f"nearest; encode in float32, or go back to weights from before they diverged."
        ),
    )


def masked_mean(values: Tensor, mask: Tensor | None, used: Tensor | None = None) -> Tensor:
    """Average (batch, frames) over the frames that the mask holds, those that are not used counting as zero."""
    if used is not None:
        values = values * used[:, None]
    if mask is None:
        return values.mean()
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)
