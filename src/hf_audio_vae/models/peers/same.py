"""`AutoencoderSAME` of diffusers (arXiv:2605.17991)."""

from typing import Any

from diffusers import AutoencoderSAME
from torch import Tensor, nn

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.variational import PeerPointVAE


class SAMEEncoder(PeerEncoder):
    """Patches, transformers and the affine map to latents, which are divided by `running_std`."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.audio_channels, hop_length)
        self.frames_in_view = frames_in_view(original)
        self.patches: Any = original.patch_embed
        self.encoder: nn.Module = original.encoder
        self.bottleneck: Any = original.bottleneck

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return self.bottleneck.encode(self.encoder(self.patches.encode(x)))


class SAMEDecoder(PeerDecoder):
    """Transformers and patches, from latents, which are multiplied by `running_std`."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.latent_dim, hop_length)
        self.frames_in_view = frames_in_view(original)
        self.bottleneck: Any = original.bottleneck
        self.decoder: nn.Module = original.decoder
        self.patches: Any = original.patch_embed

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.patches.decode(self.decoder(self.bottleneck.decode(x)))


def frames_in_view(original: Any) -> int:
    """Return the frames before the first one that an output depends on, whose learned tokens it attends to.

    Each level adds tokens at the end of its segments, and a window starts at the last token of a segment.
    """
    return len(original.config.encoder_strides)


class SAMEVAE(PeerPointVAE):
    """`AutoencoderSAME` of diffusers, of Stable Audio 3: transformers with a sliding window over patches.

    Its latents have no noise. Attention masks take memory quadratic in the length: code more than a minute in chunks.
    """

    original_class = AutoencoderSAME
    encoder_class = SAMEEncoder
    decoder_class = SAMEDecoder
    blocks = ("TransformerBlock",)

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sampling_rate, config.audio_channels)
