"""Sizes and statistics of a `SpectrogramVAE` by the names that pipelines of diffusers read."""

import math
from statistics import fmean, pvariance

import torch
from torch import Tensor

from hf_audio_vae.models.spectrogram_vae.layout import Layout
from hf_audio_vae.models.variational import VariationalAutoencoderMixin


class PipelineNamesMixin(VariationalAutoencoderMixin):
    """Attributes that `AudioLDM2Pipeline`, `LTX2Pipeline` and `Kandinsky6TI2VAPipeline` read of an autoencoder."""

    layout: Layout

    @property
    def latent_hop_length(self) -> int:
        """`hop_length`, by the name that `Kandinsky6TI2VAPipeline` reads."""
        return self.hop_length

    @property
    def mel_compression_ratio(self) -> int:
        """Bins of the spectrogram, with padding, per latent bin."""
        return self.layout.padded_bins // self.layout.latent_bins

    @property
    def scaling_factor(self) -> float:
        """Factor that gives all latents together variance 1, from their statistics; 1 without statistics."""
        if not self.has_latent_statistics:
            return 1.0
        variance = fmean(std**2 for std in self.config.latents_std) + pvariance(self.config.latents_mean)
        return 1 / math.sqrt(variance)

    @property
    def latents_mean(self) -> Tensor:
        """Mean of each latent channel, (latent_channels,), 0 without statistics; `LTX2Pipeline` reads it."""
        values = self.config.latents_mean or [0.0] * self.latent_channels
        return torch.tensor(values, device=self.device)

    @property
    def latents_std(self) -> Tensor:
        """Standard deviation of each latent channel, (latent_channels,), 1 without statistics."""
        values = self.config.latents_std or [1.0] * self.latent_channels
        return torch.tensor(values, device=self.device)
