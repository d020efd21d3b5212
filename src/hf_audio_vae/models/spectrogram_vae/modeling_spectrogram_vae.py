"""VAE with two-dimensional convolutions on spectrograms that it computes from waveforms."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import AutoencoderMixin
from torch import Tensor

from hf_audio_vae.models.graph_parts import GraphPart
from hf_audio_vae.models.normalization import check_statistics
from hf_audio_vae.models.spectrogram_vae.graph_parts import spectrogram_decoder_part
from hf_audio_vae.models.spectrogram_vae.layout import Layout
from hf_audio_vae.models.spectrogram_vae.pipeline_names import PipelineNamesMixin
from hf_audio_vae.models.spectrogram_vae.spectrogram_coding import SpectrogramCodingMixin
from hf_audio_vae.models.spectrogram_vae.vocoders import GriffinLim, Vocoder, check_vocoder
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.modules.spectrogram import LogMelSpectrogram
from hf_audio_vae.runtime.streaming import AlgorithmicLatency, Streaming


class SpectrogramVAE(SpectrogramCodingMixin, PipelineNamesMixin, ModelMixin, AutoencoderMixin, ConfigMixin):
    """VAE with two-dimensional convolutions on a spectrogram: waveform in, waveform out.

    Two front ends compute the spectrogram. `"complex"` is a short-time Fourier transform with compressed magnitudes,
    real and imaginary part as channels; its inverse is exact. `"mel"` is the logarithm of mel spectra, as HiFi-GAN's
    vocoders take them (`LogMelSpectrogram`); `vocoder` makes a waveform of them, by default the method of Griffin and
    Lim. A mel model codes in chunks but decodes only whole signals, and trains on its spectrograms
    (`reconstruction_terms`), not on waveforms.

    Three kinds of networks code it. `"residual"` has residual blocks and latents at each latent bin and frame, as the
    autoencoder of latent diffusion (Rombach et al., arXiv:2112.10752), with norms over channels that keep frames
    apart. `"classic"` has plain convolutions with batch norm, and one latent vector for `num_frames` frames: a note or
    a hit. Longer signals are coded segment by segment. `"magnitude_preserving"` is the network of MMAudio (Cheng et
    al., arXiv:2412.15322): convolutions over frames with all bins as channels, latents with one bin, and optional
    attention, with which signals are coded as a whole only.

    The rank of a tensor decides what it is. Waveforms are (batch, audio_channels, time), spectrograms
    (batch, spectrogram_channels, frames, bins): `encode` takes both. Latents of waveforms are
    (batch, latent_channels * latent_bins, frames), ordered by channel; those of spectrograms
    (batch, latent_channels, frames, latent_bins). `decode` returns a waveform or a spectrogram accordingly. The
    property `latent_channels` counts the channels of the former, the argument those of the latter.

    Args:
        front_end (`str`): `"complex"` or `"mel"`.
        network (`str`): `"residual"` or `"classic"`.
        downsampling_ratios (`tuple[int, ...]`): Hop of the spectrogram in samples, then the strides over frames
            between the stages.
        bin_ratios (`tuple[int, ...]`): Strides over bins before each stage; ones for `"magnitude_preserving"`.
        block_out_channels (`tuple[int, ...]`): Channels of each stage of the encoder; the decoder's, reversed.
        layers_per_block (`int`): Blocks of each stage of the encoder; the decoder has one more.
        latent_channels (`int`): Channels of the latents at each latent bin.
        audio_channels (`int`): Channels of the waveform.
        sampling_rate (`int`): Samples per second, in Hz.
        window_length (`int`): Samples per window, two or more hops.
        magnitude_exponent (`float`, *optional*): Exponent that compresses complex spectra, in (0, 1]; default 0.35.
        mel_bins (`int`, *optional*): Mel bins, a multiple of the product of `bin_ratios`.
        min_frequency_hz (`float`, *optional*): Lower end of the mel filters; default 0.
        max_frequency_hz (`float`, *optional*): Upper end of the mel filters; default half the sampling rate.
        num_frames (`int`, *optional*): Frames of a segment of the classic network, a multiple of the strides.
        causal (`bool`): Convolutions read no later frames; not for the classic network or with attention.
        leading_frame (`bool`): Strides of a causal network start after the first frame, as those of LTX-2: latent
            frame n reads no frames after n times `temporal_compression_ratio`. Without a further latent frame, the
            last `temporal_compression_ratio - 1` frames of a signal are decoded from zeros.
        mid_block_add_attention (`bool`): Attention over frames between the middle blocks of the magnitude-preserving
            network.
        pad_mode (`str`, *optional*): Padding of the waveform by the mel front end: `"constant"` (default) for zeros,
            `"reflect"` for the mirrored signal, as HiFi-GAN.
        power_offset (`float`, *optional*): Added to the power of each bin before the mel filters; default 0, HiFi-GAN
            1e-9.
        log_variance (`bool`): The encoder's second half of outputs are logarithms of variances, as in diffusers' KL
            autoencoders, not arguments of softplus.
        latents_mean (`tuple[float, ...]`, *optional*): Mean of each of the `latent_channels * latent_bins` channels
            over the data, for `normalize_latents`; measured by `hf-audio-vae statistics`.
        latents_std (`tuple[float, ...]`, *optional*): Standard deviation of each, measured likewise.

    Raises:
        ValueError: A number is out of range, an argument has no meaning with the others, the stages differ in count,
            or the statistics do not fit.

    Example:
        >>> model = SpectrogramVAE(
        ...     "mel", "residual", (64, 2), (1, 2), (8, 16), 1, 4, sampling_rate=8000, window_length=256, mel_bins=32
        ... ).eval()
        >>> waveform = torch.randn(1, 1, 1000)
        >>> latents = model.encode(waveform).latent_dist.mode()
        >>> latents.shape, model.decode(latents).sample.shape
        (torch.Size([1, 64, 8]), torch.Size([1, 1, 1024]))
        >>> mel = model.spectrogram(waveform)
        >>> latents = model.encode(mel).latent_dist.mode()
        >>> mel.shape, latents.shape, model.decode(latents).sample.shape
        (torch.Size([1, 1, 16, 32]), torch.Size([1, 4, 8, 16]), torch.Size([1, 1, 16, 32]))
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["SpectrogramStage", "ResidualBlock2d", "MagnitudeBlock"]

    @register_to_config
    def __init__(
        self,
        front_end: str = "complex",
        network: str = "residual",
        downsampling_ratios: tuple[int, ...] = (256, 2, 2),
        bin_ratios: tuple[int, ...] = (4, 4, 4),
        block_out_channels: tuple[int, ...] = (32, 64, 128),
        layers_per_block: int = 2,
        latent_channels: int = 8,
        audio_channels: int = 1,
        sampling_rate: int = 24000,
        window_length: int = 1024,
        magnitude_exponent: float | None = None,
        mel_bins: int | None = None,
        min_frequency_hz: float | None = None,
        max_frequency_hz: float | None = None,
        num_frames: int | None = None,
        causal: bool = False,
        leading_frame: bool = False,
        mid_block_add_attention: bool = False,
        pad_mode: str | None = None,
        power_offset: float | None = None,
        log_variance: bool = False,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = self.layout.encoder()
        self.decoder = self.layout.decoder()
        self.coder = self.new_coder()
        spectrogram = self.encoder.before
        self._vocoder: Vocoder | None = GriffinLim(spectrogram) if isinstance(spectrogram, LogMelSpectrogram) else None

    def register_to_config(self, **arguments: object) -> None:
        """Register the arguments, and values by the names that pipelines of diffusers read."""
        known = {field.name for field in fields(Layout)}
        given: dict[str, Any] = {name: value for name, value in arguments.items() if name in known}
        self.layout = replace(self.layout, **given) if "layout" in self.__dict__ else Layout(**given)
        super().register_to_config(**arguments)
        check_statistics(self.config.latents_mean, self.config.latents_std, self.latent_channels)
        names = {
            "sample_rate": self.sampling_rate,
            "mel_hop_length": self.layout.spectrogram_hop_length,
            "scaling_factor": self.scaling_factor,
        }
        for name, value in names.items():
            setattr(self.config, name, value)  # attributes, not config keys: they are not saved

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.layout.hop_length

    @property
    def latent_channels(self) -> int:
        """Channels of the latents of a waveform: the argument `latent_channels` times the latent bins."""
        return self.config.latent_channels * self.layout.latent_bins

    @property
    def reconstruction_terms(self) -> tuple[str, ...]:
        """Names of the terms of `losses` that a mel model trains on: `"spectrogram"`, the L1 distance."""
        return () if self._vocoder is None else ("spectrogram",)

    @property
    def decodes_whole_signals(self) -> bool:
        """Whether every sample depends on all latents: a vocoder reads the whole spectrogram."""
        return self._vocoder is not None

    @property
    def vocoder(self) -> Vocoder:
        """Synthesis of waveforms from mel spectrograms.

        Raises:
            ValueError: The front end is `"complex"`, whose inverse is exact.
        """
        if self._vocoder is None:
            raise ValueError("`front_end` 'complex' needs no vocoder; `decode` returns waveforms.")
        return self._vocoder

    def set_vocoder(self, vocoder: Vocoder) -> None:
        """Make waveforms with another vocoder; it is not saved with the model.

        Raises:
            ValueError: The front end is `"complex"`, or the vocoder has other mel settings.
        """
        layout = self.layout
        check_vocoder(
            vocoder,
            mel_bins=self.vocoder.mel_bins,
            sampling_rate=self.sampling_rate,
            hop_length=layout.spectrogram_hop_length,
        )
        self._vocoder = vocoder

    def streaming(self) -> Streaming[DiagonalGaussian]:
        """Return a streaming encoder and decoder with a copy of the weights, see `VariationalAutoencoderMixin`.

        Raises:
            ValueError: The front end is `"mel"`, whose vocoder reads the whole spectrogram.
        """
        self._check_streams()
        return super().streaming()

    @property
    def algorithmic_latency(self) -> AlgorithmicLatency:
        """Samples until latents and reconstruction are determined; `ValueError` for the front end `"mel"`."""
        self._check_streams()
        return super().algorithmic_latency

    def graph_parts(self) -> dict[str, GraphPart]:
        """Return the encoder, which returns the posterior's mode, and the decoder, of a mel model to spectrograms."""
        parts = super().graph_parts()
        return parts if self._vocoder is None else parts | {"decoder": spectrogram_decoder_part(self)}

    def _decode(self, latents: Tensor) -> Tensor:
        decoded = super()._decode(latents)
        return decoded if self._vocoder is None else self._vocoder(decoded.transpose(2, 3))

    def _reconstruct(self, latents: Tensor, waveform: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        if self._vocoder is None:
            return super()._reconstruct(latents, waveform)
        decoded = super()._decode(latents)
        distance = (decoded - self._front_end(waveform)).abs().mean()
        trains = self.training and torch.is_grad_enabled()  # the vocoder has no part in it
        sample = None if trains else self._vocoder(decoded.transpose(2, 3))[..., : waveform.shape[-1]]
        return sample, {"spectrogram": distance}

    @property
    def _posterior(self) -> Callable[[Tensor], DiagonalGaussian]:
        logarithmic = self.layout.log_variance
        return DiagonalGaussian.from_log_variance if logarithmic else DiagonalGaussian.from_parameters

    def _check_streams(self) -> None:
        if self._vocoder is not None:
            raise ValueError(
                "`front_end` 'mel' cannot be streamed, since its vocoder reads the whole spectrogram; decode whole "
                "signals, or use the front end 'complex'."
            )
