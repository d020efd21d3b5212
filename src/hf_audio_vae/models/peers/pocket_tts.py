"""`PocketTTSAudioTokenizerModel` of transformers."""

from typing import Any

from torch import Tensor, nn
from transformers import PocketTTSAudioTokenizerModel

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.seanet import compute_paddings_from_shapes
from hf_audio_vae.models.peers.variational import PeerPointVAE


class PocketTTSEncoder(PeerEncoder):
    """Convolutions, transformer and downsampling, to latents."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.audio_channels, hop_length)
        self.encoder: nn.Module = original.encoder

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return self.encoder(x, use_streaming=False).latents


class PocketTTSDecoder(PeerDecoder):
    """Upsampling, transformer and convolutions, from latents."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.latent_dim, hop_length)
        self.projection: nn.Module = original.latent_proj
        self.decoder: nn.Module = original.decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(self.projection(x)).audio_values


class PocketTTSVAE(PeerPointVAE):
    """`PocketTTSAudioTokenizerModel` of transformers: Mimi's networks around latents, which have no noise."""

    original_class = PocketTTSAudioTokenizerModel
    library_name = "transformers"
    weights_stem = "model"
    encoder_class = PocketTTSEncoder
    decoder_class = PocketTTSDecoder
    runs_on_meta = False
    blocks = ("PocketTTSAudioTokenizerResnetBlock", "PocketTTSAudioTokenizerTransformerLayer")

    def __init__(self, original: nn.Module) -> None:
        compute_paddings_from_shapes(original)
        super().__init__(original)

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sampling_rate, config.audio_channels)

    @classmethod
    def prepare(cls, original: nn.Module) -> None:
        """As `PeerAutoencoder`."""
        compute_paddings_from_shapes(original)
