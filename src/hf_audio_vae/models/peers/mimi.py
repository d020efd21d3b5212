"""`MimiModel` of transformers (Défossez et al., 2024, arXiv:2410.00037)."""

from typing import Any

from torch import Tensor, nn
from transformers import MimiModel

from hf_audio_vae.models.peers.codec import PeerCodec, PeerQuantizer
from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig


class MimiEncoder(PeerEncoder):
    """Convolutions, transformer and downsampling."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.audio_channels, hop_length)
        self.encoder: nn.Module = original.encoder

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return self.encoder(x, use_streaming=False).latents


class MimiDecoder(PeerDecoder):
    """Upsampling, transformer and convolutions."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.hidden_size, hop_length)
        self.decoder: nn.Module = original.decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(x).audio_values


class MimiQuantizer(PeerQuantizer):
    """A semantic codebook and residual acoustic codebooks."""

    def __init__(self, original: Any) -> None:
        super().__init__((original.config.codebook_size,) * original.config.num_quantizers)
        self.quantizer: Any = original.quantizer

    def codes_of(self, latents: Tensor, count: int) -> Tensor:
        """As `PeerQuantizer`."""
        least = self.quantizer.num_semantic_quantizers
        return self.quantizer.encode(latents, max(count, least)).transpose(0, 1)[:, :count]

    def latents_of(self, codes: Tensor) -> Tensor:
        """As `PeerQuantizer`."""
        return self.quantizer.decode(codes)


class MimiCodec(PeerCodec):
    """`MimiModel` of transformers: causal convolutions and transformers, semantic and acoustic codes."""

    original_class = MimiModel
    encoder_class = MimiEncoder
    decoder_class = MimiDecoder
    quantizer_class = MimiQuantizer
    blocks = ("MimiResnetBlock", "MimiTransformerLayer")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sampling_rate, config.audio_channels)
