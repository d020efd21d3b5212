"""One level of a hierarchy, encoded and decoded while its waveform comes in."""

from functools import partial
from typing import Any

from torch import Tensor

from hf_audio_vae.models.hierarchical_vqvae.checks import level_path
from hf_audio_vae.models.inputs import check_codes, check_waveform
from hf_audio_vae.models.streaming import AlgorithmicLatency, Streaming, StreamingCoder, latency_of, unchanged
from hf_audio_vae.modules.streaming import Chain, Pointwise, chain_of


class StreamingLevelsMixin:
    """Streaming of a model with codes on several levels, one level at a time."""

    @property
    def algorithmic_latency(self: Any) -> AlgorithmicLatency:
        """Samples until a sample's code on the finest level and its reconstruction are determined."""
        return self.streaming().latency

    def streaming(self: Any, level: int = 0) -> Streaming[Tensor]:
        """Return an encoder and a decoder of one level for a signal that comes in pieces, with the weights of now.

        Their outputs, concatenated, are ``encode(x).audio_codes[level]`` and ``decode(codes, level=level)`` within
        rounding, whatever the pieces. Each is computed once, as soon as it is determined; what is kept for later ones
        does not grow.

        Args:
            level (`int`): The level, 0 for the finest.

        Raises:
            ValueError: There is no such level.

        Example:
            >>> from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig
            >>> config = HierarchicalVQVAEConfig(hidden_size=4, width=4, depth=1, codebook_size=16)
            >>> streaming = HierarchicalVQVAE(config).eval().streaming(level=1)
            >>> codes = streaming.encoder.push(torch.randn(1, 1, 320))
            >>> codes.shape[-1] + streaming.encoder.flush().shape[-1]  # 32 samples each, whole frames of 128
            12
        """
        level_path(level, self.num_levels, joint=False)  # refuses others
        encoder = self.encoders[0 if self.config.shared_encoder else level].blocks[: level + 1]
        decoder = (*reversed(self.decoders[level].blocks), self.decoders[level].conv_out)
        quantizer = self.quantizers[level]
        sizes = {"hop_length": self.hop_lengths[level], "sampling_rate": self.sampling_rate}
        return Streaming(
            StreamingCoder(
                Chain((chain_of(*encoder), Pointwise(quantizer.encode))),
                partial(check_waveform, audio_channels=self.config.audio_channels),
                unchanged,
                unit=self.hop_length,
            ),
            StreamingCoder(
                Chain((Pointwise(quantizer.decode), chain_of(*decoder))),
                partial(check_codes, codebook_sizes=(self.config.codebook_size,)),
                unchanged,
            ),
            latency_of(encoder, decoder, **sizes),
        )
