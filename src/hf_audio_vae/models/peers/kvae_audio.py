"""`AutoencoderKLKVAEAudio` of diffusers."""

from typing import Any

from diffusers import AutoencoderKLKVAEAudio
from torch import Tensor, nn

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.variational import PeerVAE
from hf_audio_vae.modules.distributions import DiagonalGaussian


class KVAEAudioEncoder(PeerEncoder):
    """Convolutions, attention over all frames, and the parameters of the posterior."""

    whole_signal = "the attention of its encoder reads all frames"

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.num_channels, hop_length)
        self.encoder: nn.Module = original.encoder
        self.attention: nn.Module = original.attn
        self.projection: nn.Module = original.in_proj

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        mixed = self.attention(self.encoder(x).transpose(1, 2))
        return self.projection(mixed.transpose(1, 2).contiguous())


class KVAEAudioDecoder(PeerDecoder):
    """Convolutions, from latents."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.codebook_dim, hop_length)
        self.projection: nn.Module = original.out_proj
        self.decoder: nn.Module = original.decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(self.projection(x))


class KVAEAudioVAE(PeerVAE):
    """`AutoencoderKLKVAEAudio` of diffusers: convolutions, with attention over the whole signal in the encoder."""

    original_class = AutoencoderKLKVAEAudio
    encoder_class = KVAEAudioEncoder
    decoder_class = KVAEAudioDecoder
    blocks = ("KVAEAudioEncoderBlock", "KVAEAudioDecoderBlock")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sample_rate, config.num_channels)

    def posterior_of(self, encoded: Tensor) -> DiagonalGaussian:
        """As `PeerVAE`."""
        return DiagonalGaussian.from_log_variance(encoded)
