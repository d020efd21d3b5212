from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.convolution import WeightNormConv1d
from hf_audio_vae.modules.quantization.output import QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Generators, Quantizer, check_finite, masked_mean
from hf_audio_vae.modules.quantization.vector import VectorQuantizer


class ResidualVectorQuantizer(Quantizer):
    """Each quantizer codes what those before it left over (Zeghidour et al., 2021, arXiv:2107.03312).

    Args:
        quantizers (`Iterable[VectorQuantizer]`): All of them project, or none.
        dropout (`float`): In training, the probability that an item is decoded from a random number of the first
            codebooks, so that any number of them makes sense (Kumar et al., 2023, arXiv:2306.06546). Those left out
            learn nothing from it.

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

    def forward(
        self,
        latents: Tensor,
        mask: Tensor | None = None,
        num_codebooks: int | None = None,
        generator: Generators = None,
    ) -> QuantizerOutput:
        """Quantize, as `Quantizer.forward` says; a quantizer that is in evaluation mode by itself learns nothing."""
        count = self.checked_count(num_codebooks)
        depths = self._depths(latents, count, generator)
        if self.training:
            self._start(latents, mask)
        codes, finite = self._search(latents, count)
        residual, quantized = latents, torch.zeros_like(latents)
        losses: dict[str, Tensor] = {}
        for q, quantizer in enumerate(self.quantizers[:count]):
            choice = quantizer.choose(residual, codes[:, q], finite)
            residual = residual - choice.quantized
            if depths is None:
                used, of_used = None, mask
                quantized = quantized + choice.quantized
            else:
                used = depths > q
                of_used = used[:, None] & torch.ones_like(finite) if mask is None else used[:, None] & mask
                quantized = quantized + choice.quantized * used[:, None, None]
            for name, values in choice.losses.items():
                losses[name] = losses.get(name, 0.0) + masked_mean(values, mask, used)
            if quantizer.training:
                quantizer.learn(choice.projected, codes[:, q], of_used)
        return QuantizerOutput(quantized, codes, losses)

    def encode(self, latents: Tensor, num_codebooks: int | None = None) -> Tensor:
        """Return the codes, int64 (batch, num_codebooks, frames); raises as `Quantizer.encode`."""
        codes, finite = self._search(latents, self.checked_count(num_codebooks))
        check_finite(finite)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        """Return what codes of the first codebooks, (batch, n, frames), stand for together."""
        count = self.checked_count(codes.shape[1])
        quantized = torch.zeros((), dtype=self.quantizers[0].codebook.vectors.dtype, device=codes.device)
        for q, quantizer in enumerate(self.quantizers[:count]):
            quantized = quantized + quantizer.vectors_of(codes[:, q])
        return quantized

    @torch.no_grad()
    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return codes (batch, count, frames), and whether each frame is finite, (batch, frames)."""
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
        if all(quantizer.codebook.updates > 0 for quantizer in self.quantizers if quantizer.training):
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
        draws = [torch.rand(2, generator=one) for one in generators]
        depths = [count if draw[0] >= self.dropout else 1 + int(draw[1] * count) for draw in draws]
        return torch.tensor(depths, device=latents.device)
