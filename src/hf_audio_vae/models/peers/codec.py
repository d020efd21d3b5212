"""Published models with codes."""

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from hf_audio_vae.models.codec import CodecMixin
from hf_audio_vae.models.graph_parts import GraphPart
from hf_audio_vae.models.peers.copying import CopyableModule
from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerAutoencoder
from hf_audio_vae.modules.quantization import Quantizer, QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Generators, masked_mean


def straight_through(values: Tensor, quantized: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
    """Return `quantized` bit by bit, with a gradient to `values`, too; and the squared errors, averaged over `dim`."""
    errors = (values - quantized.detach()).square().mean(dim=dim)
    return quantized + (values - values.detach()), errors


class PeerQuantizer(CopyableModule, Quantizer):
    """The quantizer of the original, with a gradient to the latents; its codebooks do not learn.

    The gradient with respect to the latents is that of the quantized ones (straight-through estimator, van den Oord
    et al., 2017, arXiv:1711.00937). Layers around the codebooks train, too.

    Args:
        codebook_sizes (`tuple[int, ...]`): Number of codes of each codebook.
    """

    def __init__(self, codebook_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self._codebook_sizes = codebook_sizes

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook."""
        return self._codebook_sizes

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the weights and codebooks."""
        values = next(self.parameters(), None)
        return next(self.buffers()).dtype if values is None else values.dtype

    @abstractmethod
    def codes_of(self, latents: Tensor, count: int) -> Tensor:
        """Return the codes of `count` codebooks; (batch, channels, frames) -> (batch, count, frames)."""

    @abstractmethod
    def latents_of(self, codes: Tensor) -> Tensor:
        """Return the latents of codes; (batch, count, frames) -> (batch, channels, frames)."""

    def quantized(self, latents: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents of codes with a gradient to `latents`, and the squared errors, (batch, frames).

        A subclass with layers around its codebooks overrides it, so that the gradient passes through these layers.
        """
        return straight_through(latents, self.latents_of(codes))

    @property
    def loss_names(self) -> tuple[str, ...]:
        """`"commitment"`: the published codebooks do not learn."""
        return ("commitment",)

    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        codes = self.codes_of(latents.detach(), count).long()
        quantized, errors = self.quantized(latents, codes)
        return QuantizerOutput(quantized, codes, {"commitment": masked_mean(errors, mask)})

    def _search(self, latents: Tensor, count: int) -> tuple[Tensor, Tensor]:
        return self.codes_of(latents, count).long(), latents.isfinite().all(dim=1)

    def _look_up(self, codes: Tensor) -> Tensor:
        return self.latents_of(codes)


class PeerCodec(PeerAutoencoder, CodecMixin):
    """A published codec; a subclass also names the class of its quantizer."""

    encoder: PeerEncoder
    decoder: PeerDecoder
    library_name = "transformers"
    weights_stem = "model"
    quantizer_class: ClassVar[Any]  # a `PeerQuantizer`, made of the original
    codes_need_scales = False

    def __init__(self, original: torch.nn.Module) -> None:
        super().__init__(original)
        self._quantizers = (self.quantizer_class(original),)  # a tuple does not register it

    @property
    def quantizer(self) -> PeerQuantizer:  # type: ignore[override]  # not assigned
        """Quantizer of the latents."""
        return self._quantizers[0]

    def graph_parts(self) -> dict[str, GraphPart]:
        """Raise `ValueError`: the originals compute lengths from values, which fixes them in a graph."""
        raise ValueError(f"a {self.family_name()} cannot be exported: a graph of it holds for one length only.")

    def freeze_encoder(self) -> None:
        """Freeze encoder and quantizer, so that only the decoder trains."""
        self.encoder.requires_grad_(False)
        self.quantizer.requires_grad_(False)
