"""Distributions over sequences of latents that can be sampled."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from hf_audio_vae.latents.noise import frame_noise

RIDGE = 1e-9


class LatentSampler(ABC):
    """A distribution over latents of any number of frames."""

    latent_channels: int

    def sample(
        self,
        frames: int,
        *,
        batch: int = 1,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        truncation: float | None = None,
    ) -> Tensor:
        """Draw latents.

        Args:
            frames (`int`): Number of frames, 1 or more.
            batch (`int`): Number of items, 1 or more.
            generator (`torch.Generator`, *optional*): Random source, on the CPU.
            temperature (`float`): Factor of all deviations from the mean (of the component, for a mixture); 0 or more.
            truncation (`float`, *optional*): Largest norm of the noise of a frame; see `frame_noise`.

        Returns:
            float32 `torch.Tensor` of shape `(batch, latent_channels, frames)`: Latents for `decode`.

        Raises:
            ValueError: A number is out of its range.
        """
        for name, count in (("frames", frames), ("batch", batch)):
            if count < 1:
                raise ValueError(f"`{name}` is {count}; give 1 or more.")
        if not 0 <= temperature < math.inf:
            raise ValueError(f"`temperature` is {temperature}; give 0 or more, 1 for the measured deviations.")
        if truncation is not None and not 0 < truncation < math.inf:
            raise ValueError(
                f"`truncation` is {truncation}; give a radius above 0, in units of the typical one, or leave it out."
            )
        drawn = self._draw(frames, batch, generator, temperature, truncation)  # (batch, frames, channels)
        return drawn.transpose(1, 2).contiguous().float()

    @abstractmethod
    def _draw(
        self,
        frames: int,
        batch: int,
        generator: torch.Generator | None,
        temperature: float,
        truncation: float | None,
    ) -> Tensor:
        """Draw float64 latents, (batch, frames, latent_channels)."""


class StandardNormal(LatentSampler):
    """N(0, I) in the normalised space of a model: independent channels and frames.

    Args:
        mean (`torch.Tensor` of shape `(latent_channels,)`): Mean of each channel; 0 for the prior of an
            unnormalised VAE.
        std (`torch.Tensor`, same shape): Standard deviation of each channel; 1 for that prior.
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std, self.latent_channels = mean.double(), std.double(), len(mean)

    def _draw(
        self, frames: int, batch: int, generator: torch.Generator | None, temperature: float, truncation: float | None
    ) -> Tensor:
        noise = frame_noise(batch, frames, self.latent_channels, generator=generator, truncation=truncation)
        return self.mean + temperature * self.std * noise


class CorrelatedGaussian(LatentSampler):
    """N(mean, covariance) with the covariance of the channels; frames are independent.

    Args:
        mean (`torch.Tensor` of shape `(latent_channels,)`): Mean.
        covariance (`torch.Tensor` of shape `(latent_channels, latent_channels)`): Covariance.
    """

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean, self.latent_channels = mean.double(), len(mean)
        self._root = symmetric_root(covariance.double())

    def _draw(
        self, frames: int, batch: int, generator: torch.Generator | None, temperature: float, truncation: float | None
    ) -> Tensor:
        noise = frame_noise(batch, frames, self.latent_channels, generator=generator, truncation=truncation)
        return self.mean + temperature * noise @ self._root


class GaussianMixture(LatentSampler):
    """A mixture of Gaussians over frames, which are independent.

    The temperature scales the deviations from the mean of a component. At 0, frames are means of components.

    Args:
        weights (`torch.Tensor` of shape `(components,)`): Probabilities.
        means (`torch.Tensor` of shape `(components, latent_channels)`): Means.
        covariances (`torch.Tensor` of shape `(components, latent_channels, latent_channels)`): Covariances.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        self.weights, self.means, self.covariances = weights, means, covariances
        self.latent_channels = means.shape[1]
        self._roots = torch.stack([symmetric_root(covariance.double()) for covariance in covariances])

    def _draw(
        self, frames: int, batch: int, generator: torch.Generator | None, temperature: float, truncation: float | None
    ) -> Tensor:
        chosen = torch.multinomial(self.weights.double(), batch * frames, replacement=True, generator=generator)
        noise = frame_noise(batch, frames, self.latent_channels, generator=generator, truncation=truncation)
        drawn = torch.empty(batch * frames, self.latent_channels, dtype=torch.float64)
        for component in chosen.unique().tolist():
            rows = chosen == component
            deviations = noise.flatten(0, 1)[rows] @ self._roots[component]
            drawn[rows] = self.means[component].double() + temperature * deviations
        return drawn.unflatten(0, (batch, frames))


def symmetric_root(covariance: Tensor) -> Tensor:
    """Symmetric root of a positive semidefinite matrix; eigenvalues below 0 are rounding errors."""
    eigenvalues, vectors = torch.linalg.eigh(covariance)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T


def with_ridge(covariance: Tensor) -> Tensor:
    """Add a billionth of each variance, so that a covariance of latents without noise can be inverted."""
    return covariance + RIDGE * covariance.diagonal().diag()
