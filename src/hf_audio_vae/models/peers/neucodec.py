"""`NeuCodecModel` of transformers (Julian et al., 2025, arXiv:2509.09550)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from transformers import NeuCodecModel

from hf_audio_vae.audio.sinc_resampling import sinc_resample
from hf_audio_vae.models.peers.xcodec2 import Xcodec2Codec, Xcodec2Encoder


class NeuCodecEncoder(Xcodec2Encoder):
    """As X-Codec 2's, from a waveform at the rate of the decoder's.

    A frame of silence is appended, as by the original's feature extractor; the last frames read it.
    """

    feature_padding = 0

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original, hop_length)
        config = original.config
        self.rates: tuple[int, int] = (config.output_sampling_rate, config.input_sampling_rate)
        self.input_hop_length: int = config.encoder_hop_length

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return super().run(F.pad(sinc_resample(x, *self.rates), (0, self.input_hop_length)))


class NeuCodec(Xcodec2Codec):
    """`NeuCodecModel` of transformers: as X-Codec 2, with a waveform at 24 kHz from codes of one at 16 kHz.

    Both waveforms have the rate of the decoder's here; the encoder resamples its input. Codes equal those of the
    original for the resampled waveform, if it has whole frames. For others the original loses the last frame.
    """

    original_class = NeuCodecModel
    encoder_class = NeuCodecEncoder
    blocks = ("NeuCodecEncoderBlock", "NeuCodecResNetBlock", "NeuCodecDecoderLayer")

    @staticmethod
    def output_rate(config: Any) -> int:
        """As `Xcodec2Codec`."""
        return config.output_sampling_rate
