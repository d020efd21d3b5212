"""What every quantizer offers."""

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.quantization.output import QuantizerOutput

Generators = torch.Generator | list[torch.Generator] | None


class Quantizer(nn.Module):
    """Latents (batch, channels, frames) to codes (batch, num_codebooks, frames), and back."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook, in the order of the codes."""
        raise NotImplementedError

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        num_codebooks: int | None = None,
        generator: Generators = None,
    ) -> QuantizerOutput:
        """Quantize, with a gradient and losses; in training mode the codebooks learn.

        A latent that is not finite makes the losses NaN, which a training loop can see and skip, and teaches nothing.

        Args:
            latents (`torch.Tensor` of shape `(batch, channels, frames)`): From an encoder.
            mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): True where there is sound; what is not counts
                in no loss and teaches no codebook.
            num_codebooks (`int`, *optional*): Use only the first so many.
            generator (`torch.Generator` or a list of them, one an item, *optional*): What is random of an item.
        """
        raise NotImplementedError

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Return the codes, int64 (batch, num_codebooks, frames); learns nothing.

        Raises:
            ValueError: Latents are NaN or infinite, or there are not so many codebooks.
        """
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Return what codes stand for, (batch, channels, frames); of several codebooks, the first ones are enough."""
        raise NotImplementedError

    def checked_count(self, num_codebooks: int | None) -> int:
        """Return how many codebooks to use; a `ValueError` if there are not so many."""
        available = len(self.codebook_sizes)
        if num_codebooks is not None and not 1 <= num_codebooks <= available:
            raise ValueError(
                f"`num_codebooks` is {num_codebooks}; the model has {available}, ask for 1 to {available}."
            )
        return num_codebooks or available


def check_finite(finite: Tensor) -> None:
    """Raise `ValueError` unless all is True; a compiled graph cannot branch on values and leaves it to its caller."""
    if not torch.compiler.is_compiling() and not bool(finite.all()):
        raise ValueError(
            f"{int((~finite).sum())} of {finite.numel()} latent vectors are NaN or infinite, so that no code is the "
            f"nearest; encode in float32, or go back to weights from before they diverged."
        )


def masked_mean(values: Tensor, mask: Tensor | None, used: Tensor | None = None) -> Tensor:
    """Average (batch, frames) over the frames that the mask holds, those that are not used counting as zero."""
    if used is not None:
        values = values * used[:, None]
    if mask is None:
        return values.mean()
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)
