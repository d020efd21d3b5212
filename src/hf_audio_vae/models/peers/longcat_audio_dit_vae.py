"""`LongCatAudioDiTVae` of diffusers."""

from typing import Any

from diffusers import LongCatAudioDiTVae
from torch import Tensor, nn

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.variational import PeerVAE
from hf_audio_vae.modules.distributions import DiagonalGaussian


class LongCatEncoder(PeerEncoder):
    """The encoder, from a waveform to means and deviations before they are scaled."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.in_channels, hop_length)
        self.encoder = original.encoder

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return self.encoder(x)


class LongCatDecoder(PeerDecoder):
    """The decoder, from scaled latents."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.latent_dim, hop_length)
        self.decoder: nn.Module = original.decoder
        self.scale: float = original.config.scale

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(x * self.scale)


class LongCatVAE(PeerVAE):
    """`LongCatAudioDiTVae` of diffusers: an Oobleck with shortcuts, and latents divided by `scale`."""

    original_class = LongCatAudioDiTVae
    encoder_class = LongCatEncoder
    decoder_class = LongCatDecoder
    blocks = ("VaeEncoderBlock", "VaeDecoderBlock")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sample_rate, config.in_channels)

    def posterior_of(self, encoded: Tensor) -> DiagonalGaussian:
        """As `PeerVAE`; the original divides its latents."""
        config: Any = self.original.config
        posterior, scale = super().posterior_of(encoded), config.scale
        return DiagonalGaussian(posterior.mean / scale, posterior.std / scale)
