from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.convolution import WeightNormConv1d
from hf_audio_vae.modules.quantization.codebook import Codebook
from hf_audio_vae.modules.quantization.gradients import rotate_through, straight_through
from hf_audio_vae.modules.quantization.output import QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Generators, Quantizer, masked_mean


@dataclass(frozen=True)
class Choice:
    """What one codebook makes of latents, given their codes.

    Args:
        quantized (`torch.Tensor` of shape `(batch, channels, frames)`): With a gradient to the latents.
        losses (`dict[str, torch.Tensor]`): (batch, frames) each: squared differences, averaged over dimensions.
        projected (`torch.Tensor` of shape `(batch, dim, frames)`): The latents as the codebook sees them.
    """

    quantized: Tensor
    losses: dict[str, Tensor]
    projected: Tensor


class VectorQuantizer(Quantizer):
    """The nearest vector of a codebook for each frame (van den Oord et al., 2017, arXiv:1711.00937).

    Where the codebook has other dimensions than the latents, it is searched in a space of its own between two linear
    projections (Yu et al., 2021, arXiv:2110.04627).

    Args:
        channels (`int`): Of the latents.
        codebook (`Codebook`): The vectors.
        rotation (`bool`): The gradient passes by the rotation trick instead of straight through.
    """

    def __init__(self, channels: int, codebook: Codebook, *, rotation: bool = False) -> None:
        super().__init__()
        self.channels = channels
        self.rotation = rotation
        self.codebook = codebook
        self.in_proj: nn.Module = nn.Identity()
        self.out_proj: nn.Module = nn.Identity()
        if codebook.dim != channels:
            self.in_proj = WeightNormConv1d(channels, codebook.dim, 1)
            self.out_proj = WeightNormConv1d(codebook.dim, channels, 1)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes, in a tuple of one."""
        return (self.codebook.size,)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the codebook."""
        return self.codebook.vectors.dtype

    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        if self.training:
            self.start(latents, mask)
        codes, finite = self.search(latents)
        choice = self.choose(latents, codes, finite)
        if self.training:
            self.learn(choice, codes, mask)
        losses = {name: masked_mean(values, mask) for name, values in choice.losses.items()}
        return QuantizerOutput(choice.quantized, codes[:, None], losses)

    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        codes, finite = self.search(latents)
        return codes[:, None], finite

    def _look_up(self, codes: Tensor) -> Tensor:
        return self.vectors_of(codes[:, 0])

    def vectors_of(self, codes: Tensor) -> Tensor:
        """Look codes (batch, frames) up and project them back, (batch, channels, frames)."""
        return self.out_proj(self.codebook(codes).transpose(1, 2))

    def search(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code of each frame and whether it is finite, (batch, frames) both; no gradient."""
        with torch.no_grad():
            projected = self.in_proj(latents)
        codes, finite = self.codebook.search(_rows(projected))
        shape = (projected.shape[0], projected.shape[2])
        return codes.view(shape), finite.view(shape)

    def choose(self, latents: Tensor, codes: Tensor, finite: Tensor) -> Choice:
        """Quantize latents by these codes (batch, frames): with a gradient, and with losses, NaN where not finite."""
        projected = self.in_proj(latents)
        chosen = self.codebook(codes).transpose(1, 2)  # (batch, dim, frames)
        fixed = chosen.detach()
        losses = {"commitment": (projected - fixed).square().mean(dim=1)}
        if self.codebook.learning == "gradient":
            losses["codebook"] = (chosen - projected.detach()).square().mean(dim=1)
        losses = {name: torch.where(finite, values, torch.nan) for name, values in losses.items()}
        through = rotate_through if self.rotation else straight_through
        return Choice(self.out_proj(through(projected, fixed)), losses, projected)

    @torch.no_grad()
    def start(self, latents: Tensor, mask: Tensor | None) -> None:
        """Let an untrained codebook begin with these latents."""
        if not self.codebook.started:
            rows = _rows(self.in_proj(latents))
            self.codebook.start(rows if mask is None else rows[mask.flatten()])

    def learn(self, choice: Choice, codes: Tensor, mask: Tensor | None) -> None:
        """Let the codebook learn from what it chose codes (batch, frames) for, where the mask holds it."""
        valid = choice.losses["commitment"].detach().isfinite()
        if mask is not None:
            valid = valid & mask
        self.codebook.learn(_rows(choice.projected.detach()), codes.flatten(), valid.flatten())


def _rows(projected: Tensor) -> Tensor:
    """(batch, dim, frames) -> (batch * frames, dim)."""
    return projected.transpose(1, 2).flatten(0, 1)
