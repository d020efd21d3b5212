from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.convolution import WeightNormConv1d
from hf_audio_vae.modules.deferral import to_device
from hf_audio_vae.modules.quantization.codebook import Codebook
from hf_audio_vae.modules.quantization.gradients import rotate_through, straight_through
from hf_audio_vae.modules.quantization.output import QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Generators, Quantizer, masked_mean
from hf_audio_vae.modules.quantization.vector import VectorQuantizer


class ResidualVectorQuantizer(Quantizer):
    """Each quantizer codes what those before it left over (Zeghidour et al., 2021, arXiv:2107.03312).

    Args:
        quantizers (`Iterable[VectorQuantizer]`): All of them project, or none.
        dropout (`float`): In training, the probability that an item is decoded from a random number of the first
            codebooks, so that any number of them makes sense (Kumar et al., 2023, arXiv:2306.06546). Those left out
            learn nothing from it. A quantizer that is in evaluation mode by itself learns nothing either.

    Raises:
        ValueError: There are no quantizers, some project and some do not, or `dropout` is no probability.
    """

    quantizers: Any  # nn.ModuleList of VectorQuantizer

    def __init__(self, quantizers: Iterable[VectorQuantizer], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(quantizers)
        projecting = {isinstance(quantizer.in_proj, WeightNormConv1d) for quantizer in self.quantizers}
        if len(projecting) != 1:
            raise ValueError("there are no quantizers, or some project and some do not; give one kind.")
        if not 0 <= dropout <= 1:
            raise ValueError(f"`dropout` is {dropout}; give a probability, from 0 to 1.")
        self.dropout = dropout
        self.projecting = projecting.pop()

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook, the coarsest first."""
        return tuple(quantizer.codebook.size for quantizer in self.quantizers)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the codebooks."""
        return self.quantizers[0].dtype

    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        depths = self._depths(latents, count, generator)
        self._start(latents, mask)
        codes, finite = self._search(latents, count)
        residual, quantized = latents, torch.zeros_like(latents)
        losses: dict[str, Tensor] = {}
        for q, quantizer in enumerate(self.quantizers[:count]):
            choice = quantizer.choose(residual, codes[:, q], finite)
            # Without projections a residual that kept its gradient would have none: that of x - x.
            chosen = choice.quantized if self.projecting else choice.quantized.detach()
            residual = residual - chosen
            used = None if depths is None else depths > q
            quantized = quantized + (chosen if used is None else chosen * used[:, None, None])
            for name, values in choice.losses.items():
                losses[name] = losses.get(name, 0.0) + masked_mean(values, mask, used)
            if quantizer.training:
                quantizer.learn(choice, codes[:, q], _both(used, mask))
        if not self.projecting:
            through = rotate_through if self.quantizers[0].rotation else straight_through
            quantized = through(latents, quantized)
        return QuantizerOutput(quantized, codes, losses)

    def _look_up(self, codes: Tensor) -> Tensor:
        quantized = torch.zeros((), dtype=self.dtype, device=codes.device)
        for q in range(codes.shape[1]):
            quantized = quantized + self.quantizers[q].vectors_of(codes[:, q])
        return quantized

    @torch.no_grad()
    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        batch, channels, frames = latents.shape
        few = self.projecting and sum(q.codebook.dim for q in self.quantizers[:count]) <= channels
        search = self._search_projected if few else self._search_in_turn
        codes, finite = search(latents.transpose(1, 2).flatten(0, 1), count)  # (batch * frames, channels)
        return codes.view(batch, frames, count).transpose(1, 2), finite.view(batch, frames)

    def _search_in_turn(self, residual: Tensor, count: int) -> tuple[Tensor, Tensor]:
        codes = []
        for quantizer in self.quantizers[:count]:
            code, finite = quantizer.codebook.search(quantizer.in_proj(residual.T[None])[0].T)
            codes.append(code)
            residual = residual - quantizer.vectors_of(code[None])[0].T
        return torch.stack(codes, dim=1), finite

    def _search_projected(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Keep the residual in the codebooks' dimensions, where these are fewer all together than the latents'.

        Every codebook sees the latents through a projection of its own, ``P_q``. What codebook p takes away from the
        latents is ``W_p v + b_p``; seen by a later q, that is ``P_q W_p v + P_q b_p``: small matrices, made once. The
        projections of the latents, done for all codebooks at once, then lose these.
        """
        quantizers = self.quantizers[:count]
        dims = [quantizer.codebook.dim for quantizer in quantizers]
        into = torch.cat([quantizer.in_proj.weight()[:, :, 0] for quantizer in quantizers])  # (sum of dims, channels)
        biases = torch.cat([quantizer.in_proj.bias for quantizer in quantizers])
        residual = torch.addmm(biases, latents, into.T)  # (batch * frames, sum of dims)
        codes = []
        for quantizer, dim in zip(quantizers, dims, strict=True):
            code, finite = quantizer.codebook.search(residual[:, :dim])
            codes.append(code)
            residual, into = residual[:, dim:], into[dim:]
            taken_by_later = into @ quantizer.out_proj.weight()[:, :, 0]  # (later dims, dim)
            shift = into @ quantizer.out_proj.bias
            residual = torch.addmm(residual - shift, quantizer.codebook(code), taken_by_later.T, alpha=-1)
        return torch.stack(codes, dim=1), finite

    @torch.no_grad()
    def _start(self, latents: Tensor, mask: Tensor | None) -> None:
        """Let untrained codebooks begin, each with what those before it leave over."""
        if all(quantizer.codebook.started for quantizer in self.quantizers if quantizer.training):
            return
        residual = latents
        for quantizer in self.quantizers:
            if quantizer.training:
                quantizer.start(residual, mask)
            residual = residual - quantizer.vectors_of(quantizer.search(residual)[0])

    def _depths(self, latents: Tensor, count: int, generator: Generators) -> Tensor | None:
        """How many codebooks each item is decoded from, (batch,); `None` if all from all."""
        if not self.training or not self.dropout:
            return None
        generators = generator if isinstance(generator, list) else [generator] * len(latents)
        if len(generators) != len(latents):
            raise ValueError(f"there are {len(generators)} generators for {len(latents)} items; give one an item.")
        draws = [torch.rand(2, generator=one, device=one.device if one else None).tolist() for one in generators]
        depths = [count if keep >= self.dropout else 1 + int(depth * count) for keep, depth in draws]
        return to_device(torch.tensor(depths), latents.device)


def _both(used: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """Frames of items (batch,) that are used, where the mask (batch, frames) holds them."""
    if used is None:
        return mask
    return used[:, None] if mask is None else used[:, None] & mask


def residual_vector_quantizer(
    channels: int,
    *,
    num_codebooks: int = 8,
    codebook_size: int = 1024,
    codebook_dim: int | None = None,
    dropout: float = 0.0,
    rotation: bool = False,
    cosine: bool = False,
    learning: Literal["gradient", "ema"] = "ema",
    decay: float = 0.99,
    restart_share: float | None = 0.05,
    kmeans_start: bool = True,
) -> ResidualVectorQuantizer:
    """Make a residual quantizer of like codebooks, with the arguments of `Codebook` and `VectorQuantizer`.

    Args:
        channels (`int`): Of the latents.
        num_codebooks (`int`): Codebooks.
        codebook_size (`int`): Codes of each.
        codebook_dim (`int`, *optional*): Dimensions of a code; latents are projected to them unless they are
            `channels`, the default.
        dropout (`float`): Share of items that are quantized with fewer codebooks in training.
        rotation (`bool`): Rotate the gradient onto the latents, rather than copy it.
        cosine (`bool`): Compare directions, not distances.
        learning (`str`): `"gradient"` or `"ema"`.
        decay (`float`): Share of a running average that an update keeps.
        restart_share (`float`, *optional*): Share of the mean use below which a code restarts.
        kmeans_start (`bool`): The first batch's clusters are the first codebook.

    Raises:
        ValueError: As `Codebook` and `ResidualVectorQuantizer`.
    """
    codebooks = (
        Codebook(
            codebook_size,
            codebook_dim or channels,
            cosine=cosine,
            learning=learning,
            decay=decay,
            restart_share=restart_share,
            kmeans_start=kmeans_start,
        )
        for _ in range(num_codebooks)
    )
    quantizers = (VectorQuantizer(channels, codebook, rotation=rotation) for codebook in codebooks)
    return ResidualVectorQuantizer(quantizers, dropout=dropout)
