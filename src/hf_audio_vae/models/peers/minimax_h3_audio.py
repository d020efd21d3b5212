"""`AutoencoderKLMiniMaxH3Audio` of diffusers."""

from typing import Any

import torch
from diffusers import AutoencoderKLMiniMaxH3Audio
from torch import Tensor, nn

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.variational import PeerVAE
from hf_audio_vae.modules.distributions import DiagonalGaussian


class MiniMaxH3AudioEncoder(PeerEncoder):
    """Convolutions, attention over all earlier frames, and two heads: means and logarithms of deviations."""

    whole_signal = "the attention of its encoder reads all earlier frames"

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(1, hop_length)
        self.encoder: nn.Module = original.encoder
        self.attention: nn.Module = original.pre_block
        self.mean: nn.Module = original.mean_proj
        self.log_std: nn.Module = original.logs_proj

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        mixed = self.attention(self.encoder(x).transpose(1, 2)).transpose(1, 2)
        return torch.cat([self.mean(mixed), self.log_std(mixed)], dim=1)


class MiniMaxH3AudioDecoder(PeerDecoder):
    """Convolutions without aliasing, from latents."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.latent_channels, hop_length)
        self.projection: nn.Module = original.dec_in_proj
        self.decoder: nn.Module = original.decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(self.projection(x))


class MiniMaxH3AudioVAE(PeerVAE):
    """`AutoencoderKLMiniMaxH3Audio` of diffusers: a DAC encoder with causal attention, and a BigVGAN decoder.

    It is mono; the pipeline of MiniMax-H3 codes the channels of stereo as two items. The configuration may have
    statistics of the latents.
    """

    original_class = AutoencoderKLMiniMaxH3Audio
    encoder_class = MiniMaxH3AudioEncoder
    decoder_class = MiniMaxH3AudioDecoder
    blocks = ("MiniMaxH3AudioEncoderBlock", "MiniMaxH3AudioAttnProjection", "MiniMaxH3AudioAMPBlock")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sampling_rate, 1, config.latents_mean, config.latents_std)

    def posterior_of(self, encoded: Tensor) -> DiagonalGaussian:
        """As `PeerVAE`."""
        mean, log_std = encoded.chunk(2, dim=1)
        return DiagonalGaussian(mean, log_std.to(torch.promote_types(log_std.dtype, torch.float32)).exp())
