"""`Xcodec2Model` of transformers (Ye et al., 2025, arXiv:2502.04128)."""

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Xcodec2Model

from hf_audio_vae.audio.kaldi import FRAME_SHIFT, kaldi_filter_bank
from hf_audio_vae.models.peers.codec import PeerQuantizer
from hf_audio_vae.models.peers.network import PeerDecoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.semantic import SemanticCodec, SemanticEncoder
from hf_audio_vae.modules.quantization import QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Generators

STACKED = 2  # frames of the filter bank in one of the model of speech
EPSILON = 1e-7  # of the variance


class Xcodec2Encoder(SemanticEncoder):
    """A convolutional encoder, and one of the features of a Wav2Vec2-BERT.

    What the original's feature extractor computes is computed here, without a gradient.
    """

    feature_padding: ClassVar[int] = FRAME_SHIFT  # zeros at both ends of what the filter bank reads

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(1, hop_length)
        self.semantic: nn.Module = original.semantic_encoder
        self.semantic_adapter: nn.Module = original.semantic_adapter
        self.acoustic_encoder: nn.Module = original.acoustic_encoder
        self.projection: nn.Module = original.fc_encoder

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder on a waveform at 16 kHz."""
        with torch.no_grad():
            features = semantic_features(F.pad(x[:, 0], (self.feature_padding, self.feature_padding)))
            speech = self.semantic(features.to(x.dtype)).last_hidden_state
        semantic = self.semantic_adapter(speech.mT)
        acoustic = self.acoustic_encoder(x)[..., : semantic.shape[-1]]
        return self.projection(torch.cat([semantic, acoustic], dim=1).mT).mT


def semantic_features(waveform: Tensor) -> Tensor:
    """Pairs of filter bank frames, normalised over the signal; (batch, time) -> (batch, frames, 160)."""
    energies = kaldi_filter_bank(waveform)
    deviation = (energies.var(dim=1, keepdim=True) + EPSILON).sqrt()
    normal = (energies - energies.mean(dim=1, keepdim=True)) / deviation
    return normal.unflatten(1, (-1, STACKED)).flatten(2)


class Xcodec2Decoder(PeerDecoder):
    """Convolutions, transformer and inverse short-time Fourier transform."""

    whole_signal = "its decoder attends to all of it and normalises over time"

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.quantization_dim, hop_length)
        self.decoder: nn.Module = original.acoustic_decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(x.mT).to(x.dtype)


class Xcodec2Quantizer(PeerQuantizer):
    """Finite scalar quantization between two projections, with its own straight-through estimator."""

    def __init__(self, original: Any) -> None:
        super().__init__((math.prod(original.config.quantization_levels),))
        self.quantizer: Any = original.quantizer

    def codes_of(self, latents: Tensor, count: int) -> Tensor:
        """As `PeerQuantizer`."""
        return self.quantizer(latents.mT)[1].mT

    def latents_of(self, codes: Tensor) -> Tensor:
        """As `PeerQuantizer`."""
        return self.quantizer.from_codes(codes.mT).mT

    @property
    def loss_names(self) -> tuple[str, ...]:
        """None: the codebook is a grid."""
        return ()

    def _quantize(self, latents: Tensor, mask: Tensor | None, count: int, generator: Generators) -> QuantizerOutput:
        quantized, codes = self.quantizer(latents.mT)
        codes = codes.mT.long().clamp(0, self.codebook_sizes[0] - 1)  # of NaN, too
        return QuantizerOutput(quantized.mT, codes)


class Xcodec2Codec(SemanticCodec):
    """`Xcodec2Model` of transformers: one code of acoustic and semantic features per frame.

    The original's feature extractor appends one sample before it pads the signal. So it returns one more frame, of
    silence, for signals of whole frames.
    """

    original_class: ClassVar[Any] = Xcodec2Model
    encoder_class = Xcodec2Encoder
    decoder_class = Xcodec2Decoder
    quantizer_class = Xcodec2Quantizer
    blocks = ("Xcodec2EncoderBlock", "Xcodec2ResNetBlock", "Xcodec2DecoderLayer")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        self.check_joined(math.prod(config.downsampling_ratios), STACKED * FRAME_SHIFT)
        return PeerConfig(self.output_rate(config), 1)

    @staticmethod
    def output_rate(config: Any) -> int:
        """Return the sampling rate of the decoder's waveform, in Hz."""
        return config.sampling_rate
