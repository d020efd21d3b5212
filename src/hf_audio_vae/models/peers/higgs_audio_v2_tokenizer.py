"""`HiggsAudioV2TokenizerModel` of transformers (Boson AI, 2025)."""

from typing import Any

from torch import Tensor

from hf_audio_vae.files.weights import on_one_line
from hf_audio_vae.models.peers.codec import straight_through
from hf_audio_vae.models.peers.peer import PeerConfig
from hf_audio_vae.models.peers.xcodec import XcodecCodec, XcodecEncoder, XcodecQuantizer, semantic_hop_length

NAME = "HiggsAudioV2TokenizerModel"
SEMANTIC_PADDING = 160  # samples at HuBERT's rate


class OriginalClass:
    """The class, imported at its first use: its module needs torchaudio, which may be missing or of another torch."""

    def __get__(self, instance: object, owner: type) -> Any:
        try:
            import torchaudio.functional  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            raise ModuleNotFoundError(
                f"a {NAME} needs torchaudio, which cannot be imported ({on_one_line(error)}); install the version of "
                f"this torch: pip install torchaudio"
            ) from error
        from transformers import HiggsAudioV2TokenizerModel

        return HiggsAudioV2TokenizerModel


class HiggsEncoder(XcodecEncoder):
    """As X-Codec's, with a HuBERT of another sampling rate, of whose frames only some are used."""

    def __init__(self, original: Any, hop_length: int) -> None:
        super().__init__(original, hop_length)
        config = original.config
        self.rates: tuple[int, int] = (config.sample_rate, config.semantic_sample_rate)
        self.semantic_padding = SEMANTIC_PADDING
        self.semantic_factor = max(config.semantic_downsample_factor, 1)

    def semantic_waveform(self, x: Tensor) -> Tensor:
        """As `XcodecEncoder`."""
        if self.rates[0] != self.rates[1]:
            from torchaudio.functional import resample

            x = resample(x, *self.rates)
        return super().semantic_waveform(x)


class HiggsQuantizer(XcodecQuantizer):
    """Residual codebooks, each between two projections."""

    def quantized(self, latents: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
        """As `PeerQuantizer`; the gradient skips each codebook between its projections."""
        residual, parts, errors = latents, [], []
        for layer, indices in zip(self.quantizer.quantizers, codes.unbind(1), strict=False):
            values, error = straight_through(layer.project_in(residual.mT), layer.codebook.decode(indices), dim=2)
            parts.append(layer.project_out(values).mT)
            errors.append(error)
            residual = residual - parts[-1].detach()
        return sum(parts[1:], parts[0]), sum(errors[1:], errors[0])


class HiggsCodec(XcodecCodec):
    """`HiggsAudioV2TokenizerModel` of transformers: as X-Codec, at 24 kHz and with lower rates of codes.

    Waveforms are padded to whole frames; for some other lengths the original loses samples, or moves the acoustic
    features by half a frame.
    """

    original_class = OriginalClass()
    encoder_class = HiggsEncoder
    quantizer_class = HiggsQuantizer

    @classmethod
    def family_name(cls) -> str:
        """Name of the original's class."""
        return NAME

    def new_config(self) -> PeerConfig:
        """As `PeerAutoencoder`."""
        config: Any = self.original.config
        factor = max(config.semantic_downsample_factor, 1)
        semantic = semantic_hop_length(config) * factor * config.sample_rate / config.semantic_sample_rate
        self.check_joined(config.hop_length, semantic)
        return PeerConfig(config.sample_rate, 1)
