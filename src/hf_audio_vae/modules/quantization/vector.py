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
    """Quantization of latents by one codebook, given their codes.

    Args:
        quantized (`torch.Tensor` of shape `(batch, channels, frames)`): With a gradient to the latents.
        losses (`dict[str, torch.Tensor]`): (batch, frames) each: squared differences, averaged over dimensions.
        projected (`torch.Tensor` of shape `(batch, dim, frames)`): Latents in the space of the codebook.
    """

    quantized: Tensor
    losses: dict[str, Tensor]
    projected: Tensor


class VectorQuantizer(Quantizer):
    """Maps each frame to the nearest vector of a codebook (van den Oord et al., 2017, arXiv:1711.00937).

    If the codebook has other dimensions than the latents, linear projections map to its space and back (Yu et al.,
    2021, arXiv:2110.04627).

    Args:
        channels (`int`): Latent channels.
        codebook (`Codebook`): The codebook.
        rotation (`bool`): Use the rotation trick for the gradient instead of straight-through.
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
        """Number of codes, in a tuple of length 1."""
        return (self.codebook.size,)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the codebook."""
        return self.codebook.vectors.dtype

    @property
    def loss_names(self) -> tuple[str, ...]:
        """`"commitment"`, and `"codebook"` if the codebook learns by gradient."""
        return ("commitment", "codebook") if self.codebook.learning == "gradient" else ("commitment",)

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
        """Look up codes (batch, frames) and project them back, (batch, channels, frames)."""
        return self.out_proj(self.codebook(codes).transpose(1, 2))

    def search(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the code of each frame and whether it is finite, both (batch, frames); no gradient."""
        with torch.no_grad():
            projected = self.in_proj(latents)
        codes, finite = self.codebook.search(_rows(projected))
        shape = (projected.shape[0], projected.shape[2])
        return codes.view(shape), finite.view(shape)

    def choose(self, latents: Tensor, codes: Tensor, finite: Tensor) -> Choice:
        """Quantize latents by codes (batch, frames), with a gradient and losses, which are NaN if not `finite`."""
        projected = self.in_proj(latents)
        chosen = self.codebook(codes).transpose(1, 2)  # (batch, dim, frames)
        chosen_detached = chosen.detach()
        losses = {"commitment": (projected - chosen_detached).square().mean(dim=1)}
        if self.codebook.learning == "gradient":
            losses["codebook"] = (chosen - projected.detach()).square().mean(dim=1)
        losses = {name: torch.where(finite, values, torch.nan) for name, values in losses.items()}
        estimator = rotate_through if self.rotation else straight_through
        return Choice(self.out_proj(estimator(projected, chosen_detached)), losses, projected)

    @torch.no_grad()
    def start(self, latents: Tensor, mask: Tensor | None) -> None:
        """Initialise an untrained codebook with these latents."""
        if not self.codebook.started:
            rows = _rows(self.in_proj(latents))
            self.codebook.start(rows if mask is None else rows[mask.flatten()])

    def learn(self, choice: Choice, codes: Tensor, mask: Tensor | None) -> None:
        """Update the codebook from a choice with codes (batch, frames), within the mask."""
        valid = choice.losses["commitment"].detach().isfinite()
        if mask is not None:
            valid = valid & mask
        self.codebook.learn(_rows(choice.projected.detach()), codes.flatten(), valid.flatten())


def _rows(projected: Tensor) -> Tensor:
    """(batch, dim, frames) -> (batch * frames, dim)."""
    return projected.transpose(1, 2).flatten(0, 1)
