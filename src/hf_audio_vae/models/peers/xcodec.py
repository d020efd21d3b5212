"""`XcodecModel` of transformers (Ye et al., 2024, arXiv:2408.17175)."""

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import XcodecModel

from hf_audio_vae.models.peers.codec import PeerQuantizer
from hf_audio_vae.models.peers.network import PeerDecoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.semantic import SemanticCodec, SemanticEncoder


class XcodecEncoder(SemanticEncoder):
    """A convolutional encoder, and one of the mean of all layers of a HuBERT."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(1, hop_length)
        self.semantic: nn.Module = original.semantic_model
        self.semantic_encoder: nn.Module = original.encoder_semantic
        self.acoustic_encoder: nn.Module = original.acoustic_encoder
        self.projection: nn.Module = original.fc
        self.semantic_padding: int = original.pad
        self.semantic_factor = 1  # HuBERT's frames per frame

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        with torch.no_grad():
            layers = self.semantic(self.semantic_waveform(x), output_hidden_states=True).hidden_states
            features = torch.stack(layers, dim=1).mean(dim=1)[:, :: self.semantic_factor]
        semantic = self.semantic_encoder(features.mT)
        encoded = torch.cat([self.acoustic_encoder(x), semantic], dim=1)
        return self.projection(encoded.mT).mT

    def semantic_waveform(self, x: Tensor) -> Tensor:
        """Return what HuBERT reads; (batch, 1, time) -> (batch, time)."""
        return F.pad(x[:, 0], (self.semantic_padding, self.semantic_padding))


class XcodecDecoder(PeerDecoder):
    """A projection and the convolutional decoder."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.hidden_size, hop_length)
        self.projection: nn.Module = original.fc2
        self.decoder: nn.Module = original.acoustic_decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(self.projection(x.mT).mT)


class XcodecQuantizer(PeerQuantizer):
    """Residual codebooks."""

    def __init__(self, original: Any) -> None:
        super().__init__((original.config.codebook_size,) * original.config.num_quantizers)
        self.quantizer: Any = original.quantizer

    def codes_of(self, latents: Tensor, count: int) -> Tensor:
        """As `PeerQuantizer`; the original is asked for a bandwidth and rounds the number of codebooks down."""
        bandwidth = (count + 0.5) * self.quantizer.get_bandwidth_per_quantizer()
        return self.quantizer.encode(latents, bandwidth).transpose(0, 1)

    def latents_of(self, codes: Tensor) -> Tensor:
        """As `PeerQuantizer`."""
        return self.quantizer.decode(codes.transpose(0, 1))


class XcodecCodec(SemanticCodec):
    """`XcodecModel` of transformers: residual codes of acoustic and semantic features.

    Waveforms are padded to whole frames. For other lengths the original loses up to 79 samples, or moves the acoustic
    features by half a frame.
    """

    original_class: ClassVar[Any] = XcodecModel
    encoder_class = XcodecEncoder
    decoder_class = XcodecDecoder
    quantizer_class = XcodecQuantizer
    blocks = ("DacEncoderBlock", "DacDecoderBlock")
    unused = ("decoder_semantic", "fc1")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        self.check_joined(config.hop_length, semantic_hop_length(config))
        return PeerConfig(config.sample_rate, 1)


def semantic_hop_length(config: Any) -> int:
    """Return the samples per frame of the semantic encoder."""
    return math.prod(config.semantic_model_config.conv_stride) * math.prod(config.strides)
