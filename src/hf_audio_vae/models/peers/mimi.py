"""`MimiModel` of transformers (Défossez et al., 2024, arXiv:2410.00037)."""

from typing import Any

from torch import Tensor, nn
from transformers import MimiModel

from hf_audio_vae.models.peers.codec import PeerCodec, PeerQuantizer, straight_through
from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.reach import MAX_REACH


class MimiEncoder(PeerEncoder):
    """Convolutions, transformer and downsampling."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.audio_channels, hop_length)
        self.encoder: nn.Module = original.encoder
        self.whole_signal = far_attention(original.config)

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return self.encoder(x, use_streaming=False).latents


class MimiDecoder(PeerDecoder):
    """Upsampling, transformer and convolutions."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.hidden_size, hop_length)
        self.decoder: nn.Module = original.decoder
        self.whole_signal = far_attention(original.config)

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(x).audio_values


def far_attention(config: Any) -> str | None:
    """Return what an output depends on, if the windows of the attention together are too long for chunks."""
    positions = config.num_hidden_layers * (config.sliding_window - 1)
    frames = int(positions * config.frame_rate / config.encodec_frame_rate)
    if frames <= MAX_REACH:
        return None
    return f"its transformers attend to {frames} earlier frames, more than {MAX_REACH}"


class MimiQuantizer(PeerQuantizer):
    """A semantic codebook and residual acoustic codebooks, each kind between two projections.

    The original divides the sums of its codebooks by their usage once and keeps the quotients. They are computed anew
    at each call, since weights may have been loaded, averaged, moved or converted since.
    """

    def __init__(self, original: Any) -> None:
        super().__init__((original.config.codebook_size,) * original.config.num_quantizers)
        self.quantizer: Any = original.quantizer

    def codes_of(self, latents: Tensor, count: int) -> Tensor:
        """As `PeerQuantizer`."""
        self._forget_quotients()
        least = self.quantizer.num_semantic_quantizers
        return self.quantizer.encode(latents, max(count, least)).transpose(0, 1)[:, :count]

    def latents_of(self, codes: Tensor) -> Tensor:
        """As `PeerQuantizer`."""
        self._forget_quotients()
        return self.quantizer.decode(codes)

    def quantized(self, latents: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """As `PeerQuantizer`; the gradient skips the codebooks between the projections."""
        semantic = self.quantizer.num_semantic_quantizers
        parts = [(self.quantizer.semantic_residual_vector_quantizer, codes[:, :semantic])]
        if codes.shape[1] > semantic:
            parts.append((self.quantizer.acoustic_residual_vector_quantizer, codes[:, semantic:]))
        passed, errors = zip(*(_between_projections(*part, latents) for part in parts), strict=True)
        return sum(passed[1:], passed[0]), sum(errors[1:], errors[0])

    def _forget_quotients(self) -> None:
        for module in self.quantizer.modules():
            if hasattr(module, "_embed"):
                module._embed = None


def _between_projections(quantizer: Any, codes: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return the latents of codes of one kind, with a gradient through its projections, and the squared errors."""
    layers = zip(quantizer.layers, codes.unbind(1), strict=False)
    values = sum(layer.decode(indices) for layer, indices in layers)
    if quantizer.input_proj is None:
        return straight_through(latents, values)
    projected, errors = straight_through(quantizer.input_proj(latents), values)
    return quantizer.output_proj(projected), errors


class MimiCodec(PeerCodec):
    """`MimiModel` of transformers: causal convolutions and transformers, semantic and acoustic codes."""

    original_class = MimiModel
    encoder_class = MimiEncoder
    decoder_class = MimiDecoder
    quantizer_class = MimiQuantizer
    runs_on_meta = False
    blocks = ("MimiResnetBlock", "MimiTransformerLayer")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sampling_rate, config.audio_channels)
