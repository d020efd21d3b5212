"""`Cosmos3AVAEAudioTokenizer` of diffusers."""

from typing import Any

from diffusers import Cosmos3AVAEAudioTokenizer
from torch import Tensor, nn

from hf_audio_vae.models.peers.network import PeerDecoder, PeerEncoder
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.variational import PeerVAE


class Cosmos3AudioEncoder(PeerEncoder):
    """ConvNeXt over a spectrogram."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.encoder.input_channels, hop_length)
        self.encoder: nn.Module = original.encoder

    def run(self, x: Tensor) -> Tensor:
        """Run the encoder."""
        return self.encoder(x).transpose(1, 2)


class Cosmos3AudioDecoder(PeerDecoder):
    """Convolutions, with samples clamped to [-1, 1]."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original.config.vocoder_input_dim, hop_length)
        self.decoder: nn.Module = original.decoder

    def run(self, x: Tensor) -> Tensor:
        """Run the decoder."""
        return self.decoder(x).clamp(-1, 1)


class Cosmos3AudioVAE(PeerVAE):
    """`Cosmos3AVAEAudioTokenizer` of diffusers: ConvNeXt over a spectrogram, and an Oobleck decoder.

    With `normalize_volume`, the original scales a batch to a peak of 0.95 before it encodes, and does not undo it: an
    item depends on the others, and its level is lost. Here, a waveform is encoded as it is, whatever
    `normalize_volume` says. For the latents of the original, scale each item to this peak.
    """

    original_class = Cosmos3AVAEAudioTokenizer
    encoder_class = Cosmos3AudioEncoder
    decoder_class = Cosmos3AudioDecoder
    blocks = ("Cosmos3AudioConvNeXtBlock", "Cosmos3AudioDecoderBlock")

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        return PeerConfig(config.sampling_rate, config.dec_out_channels)
