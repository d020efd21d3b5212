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
    """Each quantizer codes the residual of the previous ones (Zeghidour et al., 2021, arXiv:2107.03312).

    Args:
        quantizers (`Iterable[VectorQuantizer]`): All have projections, or none.
        dropout (`float`): Probability in training that an item uses a random number of the first codebooks, so that
            any number of them can be decoded (Kumar et al., 2023, arXiv:2306.06546). Dropped codebooks do not learn
            from the item, nor does a quantizer that is itself in evaluation mode.

    Raises:
        ValueError: There are no quantizers, only some have projections, or `dropout` is not a probability.
    """

    quantizers: Any  # nn.ModuleList of VectorQuantizer

    def __init__(self, quantizers: Iterable[VectorQuantizer], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(quantizers)
        projecting = {isinstance(quantizer.in_proj, WeightNormConv1d) for quantizer in self.quantizers}
        if len(projecting) != 1:
            raise ValueError(
                "there are no quantizers, or some project and some do not; give projections to all or none."
            )
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
        """Dtype of the codebooks."""
        return self.quantizers[0].dtype

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses of each quantizer, which are summed."""
        names: tuple[str, ...] = self.quantizers[0].loss_names
        return names

    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        depths = self._depths(latents, count, generator)
        self._start(latents, mask)
        codes, finite = self._search(latents, count)
        residual, quantized = latents, torch.zeros_like(latents)
        losses: dict[str, Tensor] = {}
        for q, quantizer in enumerate(self.quantizers[:count]):
            choice = quantizer.choose(residual, codes[:, q], finite)
            # Without projections, the gradient of the residual would cancel: that of x - x.
            chosen = choice.quantized if self.projecting else choice.quantized.detach()
            residual = residual - chosen
            used = None if depths is None else depths > q
            quantized = quantized + (chosen if used is None else chosen * used[:, None, None])
            for name, values in choice.losses.items():
                losses[name] = losses.get(name, 0.0) + masked_mean(values, mask, used)
            if quantizer.training:
                quantizer.learn(choice, codes[:, q], _used_frames(used, mask))
        if not self.projecting:
            estimator = rotate_through if self.quantizers[0].rotation else straight_through
            quantized = estimator(latents, quantized)
        return QuantizerOutput(quantized, codes, losses)

    def _look_up(self, codes: Tensor) -> Tensor:
        quantized = torch.zeros((), dtype=self.dtype, device=codes.device)
        for q in range(codes.shape[1]):
            quantized = quantized + self.quantizers[q].vectors_of(codes[:, q])
        return quantized

    @torch.no_grad()
    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        batch, channels, frames = latents.shape
        use_projected = self.projecting and sum(q.codebook.dim for q in self.quantizers[:count]) <= channels
        search = self._search_projected if use_projected else self._search_in_turn
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
        """Search with projected residuals, if the codebooks together have no more dimensions than the latents.

        Codebook q projects the residual by ``P_q``. Codebook p subtracts ``W_p v + b_p`` from the residual; in the
        space of a later codebook q, this is ``P_q W_p v + P_q b_p``, with a small matrix ``P_q W_p``. The latents are
        projected once for all codebooks, and these terms are subtracted from the projections.
        """
        quantizers = self.quantizers[:count]
        dims = [quantizer.codebook.dim for quantizer in quantizers]
        in_weight = torch.cat([quantizer.in_proj.weight()[:, :, 0] for quantizer in quantizers])  # (dims, channels)
        biases = torch.cat([quantizer.in_proj.bias for quantizer in quantizers])
        residual = torch.addmm(biases, latents, in_weight.T)  # (batch * frames, dims)
        codes = []
        for quantizer, dim in zip(quantizers, dims, strict=True):
            code, finite = quantizer.codebook.search(residual[:, :dim])
            codes.append(code)
            residual, in_weight = residual[:, dim:], in_weight[dim:]
            cross_weight = in_weight @ quantizer.out_proj.weight()[:, :, 0]  # (later dims, dim)
            shift = in_weight @ quantizer.out_proj.bias
            residual = torch.addmm(residual - shift, quantizer.codebook(code), cross_weight.T, alpha=-1)
        return torch.stack(codes, dim=1), finite

    @torch.no_grad()
    def _start(self, latents: Tensor, mask: Tensor | None) -> None:
        """Initialise untrained codebooks, each with the residual of the previous ones."""
        if all(quantizer.codebook.started for quantizer in self.quantizers if quantizer.training):
            return
        residual = latents
        for quantizer in self.quantizers:
            if quantizer.training:
                quantizer.start(residual, mask)
            residual = residual - quantizer.vectors_of(quantizer.search(residual)[0])

    def _depths(self, latents: Tensor, count: int, generator: Generators) -> Tensor | None:
        """Number of codebooks used for each item, (batch,); `None` if all items use all."""
        if not self.training or not self.dropout:
            return None
        generators = generator if isinstance(generator, list) else [generator] * len(latents)
        if len(generators) != len(latents):
            raise ValueError(f"there are {len(generators)} generators for {len(latents)} items; give one per item.")
        draws = [torch.rand(2, generator=g, device=g.device if g else None).tolist() for g in generators]
        depths = [count if keep >= self.dropout else 1 + int(depth * count) for keep, depth in draws]
        return to_device(torch.tensor(depths), latents.device)


def _used_frames(used: Tensor | None, mask: Tensor | None) -> Tensor | None:
    """Frames in the mask (batch, frames) of the items that are used (batch,)."""
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
    """Return a residual quantizer of identical codebooks, see `Codebook` and `VectorQuantizer`.

    Args:
        channels (`int`): Latent channels.
        num_codebooks (`int`): Number of codebooks.
        codebook_size (`int`): Codes per codebook.
        codebook_dim (`int`, *optional*): Dimensions of a code; latents are projected unless this equals
            `channels`, the default.
        dropout (`float`): Probability in training that an item uses fewer codebooks.
        rotation (`bool`): Rotate the gradient to the latents instead of copying it.
        cosine (`bool`): Search by angle instead of distance.
        learning (`str`): `"gradient"` or `"ema"`.
        decay (`float`): Share of a running average that an update keeps.
        restart_share (`float`, *optional*): Share of the average count below which a code restarts.
        kmeans_start (`bool`): Initialise by k-means on the first batch.

    Raises:
        ValueError: See `Codebook` and `ResidualVectorQuantizer`.
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
