"""Coding of spectrograms beside waveforms; the rank of a tensor decides what it is."""

from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor

from hf_audio_vae.audio.framing import pad_to_frames
from hf_audio_vae.models.inputs import check_sampling_rate, check_waveform
from hf_audio_vae.models.spectrogram_vae.inputs import check_spatial_latents, check_spectrogram
from hf_audio_vae.models.spectrogram_vae.layout import Layout, SpectrogramStack
from hf_audio_vae.models.variational import VariationalAutoencoderMixin
from hf_audio_vae.models.variational_outputs import VAEDecoderOutput, VAEEncoderOutput
from hf_audio_vae.modules.deferral import deferring_checks
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.modules.finite import check_output
from hf_audio_vae.modules.spectrogram import FrameClock
from hf_audio_vae.runtime.coders import Coding, LayerRange


class SpectrogramCodingMixin(VariationalAutoencoderMixin):
    """A variational autoencoder that also encodes spectrograms, and decodes to them; a model sets `layout`."""

    layout: Layout
    encoder: SpectrogramStack
    decoder: SpectrogramStack

    @property
    def temporal_compression_ratio(self) -> int:
        """Frames of the spectrogram per latent frame."""
        return self.layout.frames_per_latent

    @torch.no_grad()
    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Return the spectrogram of a waveform, as `encode` takes it.

        Args:
            waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1]; zeros are appended
                up to a whole latent frame.

        Returns:
            `torch.Tensor` of shape `(batch, spectrogram_channels, frames, bins)`: The natural logarithm of mel
            magnitudes, or real and imaginary parts of each audio channel with compressed magnitudes.

        Raises:
            ValueError: As `encode`.
        """
        check_waveform(waveform, self.config.audio_channels)
        return self._front_end(waveform)[:, :, : self.layout.bins].transpose(2, 3)

    def encode(
        self, x: Tensor, return_dict: bool = True, *, sampling_rate: int | None = None
    ) -> VAEEncoderOutput | tuple[DiagonalGaussian]:
        """Encode a waveform or a spectrogram into the posterior over its latents.

        Args:
            x (`torch.Tensor`): Waveform (batch, audio_channels, time) in [-1, 1], any time >= 1; or spectrogram
                (batch, spectrogram_channels, frames, bins), any frames >= 1. Zeros are appended up to a whole frame of
                the latents.
            return_dict (`bool`): Return an output object rather than a tuple.
            sampling_rate (`int`, *optional*): Sampling rate in Hz, checked against the model's.

        Returns:
            `VAEEncoderOutput`, or `(latent_dist,)`: latents are (batch, latent_channels * latent_bins, frames), or
            (batch, latent_channels, frames, latent_bins) of a spectrogram.

        Raises:
            ValueError: Wrong rank, shape, dtype or sampling rate; empty, NaN or infinite; or the latents are NaN or
                infinite.
        """
        if isinstance(x, Tensor) and x.ndim == 4:
            check_sampling_rate(sampling_rate, self.sampling_rate)
            posterior = self._encode_spectrogram(x)
            return VAEEncoderOutput(latent_dist=posterior) if return_dict else (posterior,)
        return super().encode(x, return_dict, sampling_rate=sampling_rate)

    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> VAEDecoderOutput | tuple[Tensor]:
        """Decode latents into a waveform, or into a spectrogram.

        Args:
            z (`torch.Tensor`): Latents (batch, latent_channels * latent_bins, frames), or
                (batch, latent_channels, frames, latent_bins); frames >= 1.
            return_dict (`bool`): Return an output object rather than a tuple.
            generator (`torch.Generator`, *optional*): Unused, since decoding is deterministic; diffusers' pipelines
                pass it.

        Returns:
            `VAEDecoderOutput`, or `(sample,)`: (batch, audio_channels, frames * hop_length), or
            (batch, spectrogram_channels, frames * temporal_compression_ratio, bins) of four-dimensional latents.

        Raises:
            ValueError: Wrong rank, shape or dtype; empty, NaN or infinite; or the output is NaN or infinite.
        """
        if isinstance(z, Tensor) and z.ndim == 4:
            sample = self._decode_spatial(z)
            return VAEDecoderOutput(sample=sample) if return_dict else (sample,)
        return super().decode(z, return_dict, generator)

    def decode_to_spectrogram(self, latents: Tensor) -> Tensor:
        """(batch, latent_channels, frames) -> (batch, spectrogram_channels, bins, spectrogram_frames), unchecked."""
        layers = self.decoder.layers()[:-1]
        network = LayerRange((*layers, FrameClock(self.layout.spectrogram_hop_length)))
        return self._run(partial(self.coder.decode, Coding(network, self.hop_length)), latents)

    @apply_forward_hook
    @deferring_checks
    def _encode_spectrogram(self, spectrogram: Tensor) -> DiagonalGaussian:
        layout, ratio = self.layout, self.temporal_compression_ratio
        check_spectrogram(spectrogram, layout.spectrogram_channels, layout.bins)
        layers = self.coder.layers
        frames = layers.tiles.most() if layers.chunked else None
        coder = type(layers)(replace(layers.tiles, hop_length=ratio, frames=frames))
        padded = F.pad(spectrogram.transpose(2, 3), (0, 0, 0, layout.padded_bins - layout.bins))
        parameters = self._run(partial(coder.encode, Coding(self.encoder.network, ratio)), padded)
        check_output(parameters, "latents")
        return self._posterior(parameters.transpose(2, 3))

    @apply_forward_hook
    @deferring_checks
    def _decode_spatial(self, latents: Tensor) -> Tensor:
        check_spatial_latents(latents, self.config.latent_channels, self.layout.latent_bins)
        sample = self.decode_to_spectrogram(latents.transpose(2, 3).flatten(1, 2)).transpose(2, 3)
        check_output(sample, "samples")
        return sample

    def _front_end(self, waveform: Tensor) -> Tensor:
        """(batch, audio_channels, time) -> (batch, spectrogram_channels, padded_bins, frames)."""
        spectrogram: Tensor = self.encoder.before(pad_to_frames(waveform.to(self.dtype), self.hop_length))
        return spectrogram
