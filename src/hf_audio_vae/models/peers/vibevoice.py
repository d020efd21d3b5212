"""`VibeVoiceAcousticTokenizerModel` of transformers (arXiv:2508.19205)."""

from typing import Any

from torch import Tensor, nn
from transformers import VibeVoiceAcousticTokenizerModel

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.variational import PeerPointVAE

SAMPLING_RATE = 24_000  # of its feature extractor; the configuration has none


class VibeVoiceEncoder(PeerEncoder):
    """Causal ConvNeXt layers, to latents."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.channels, hop_length)
        self.encoder: nn.Module = original.encoder

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return self.encoder(x).latents.transpose(1, 2)


class VibeVoiceDecoder(PeerDecoder):
    """Causal ConvNeXt layers, from latents."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.hidden_size, hop_length)
        self.decoder: nn.Module = original.decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(x).audio


class VibeVoiceVAE(PeerPointVAE):
    """`VibeVoiceAcousticTokenizerModel` of transformers: causal ConvNeXt layers, and latents without noise.

    The original adds noise to latents, with one random deviation per item: ``N(0, vae_std²)``. It does not depend on
    the sound, and its elements are not independent, so it is no posterior of `DiagonalGaussian`. Here, latents are the
    output of the encoder, as of the original's ``encode(sample=False)``. Its feature extractor scales sounds to -25 dB
    of full scale.
    """

    original_class = VibeVoiceAcousticTokenizerModel
    library_name = "transformers"
    weights_stem = "model"
    encoder_class = VibeVoiceEncoder
    decoder_class = VibeVoiceDecoder
    blocks = ("VibeVoiceAcousticTokenizerConvNext1dLayer",)

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(SAMPLING_RATE, config.channels)
