from collections.abc import Iterable
from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.utils._pytree import register_pytree_node

from hf_audio_vae.modules.deferral import to_device

MIN_STD = 1e-4
LOG_VARIANCES = (-30.0, 20.0)


class DiagonalGaussian:
    """Normal distribution with independent elements, the posterior of a VAE.

    Args:
        mean (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Expected value.
        std (`torch.Tensor`, same shape): Standard deviation, positive. It may be more precise than `mean`: half
            precision would round its logarithm in the KL by up to 0.004.
    """

    has_density: ClassVar[bool] = True  # latents without noise have none, and an infinite KL

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean = mean
        self.std = std

    @classmethod
    def from_parameters(cls, parameters: Tensor) -> "DiagonalGaussian":
        """Split an encoder's output, (batch, 2 * latent_channels, frames): means, then pre-softplus `std`."""
        mean, scale = parameters.chunk(2, dim=1)
        return cls(mean, F.softplus(scale.to(torch.promote_types(scale.dtype, torch.float32))) + MIN_STD)

    @classmethod
    def from_log_variance(cls, parameters: Tensor) -> "DiagonalGaussian":
        """Split an encoder's output, (batch, 2 * latent_channels, frames): means, then logarithms of variances.

        They are bounded to [-30, 20], as in diffusers' `DiagonalGaussianDistribution`.
        """
        mean, logarithm = parameters.chunk(2, dim=1)
        wide = logarithm.to(torch.promote_types(logarithm.dtype, torch.float32))
        return cls(mean, (0.5 * wide.clamp(*LOG_VARIANCES)).exp())

    def sample(self, generator: torch.Generator | list[torch.Generator] | None = None) -> Tensor:
        """Draw latents; with one generator per item, the noise of an item does not depend on the batch."""
        first = generator[0] if isinstance(generator, list) and generator else generator
        noise_device = first.device if isinstance(first, torch.Generator) else self.mean.device
        noise = randn_tensor(self.mean.shape, generator=generator, device=noise_device, dtype=self.mean.dtype)
        return (self.mean + self.std * to_device(noise, self.mean.device)).to(self.mean.dtype)

    def mode(self) -> Tensor:
        """Most likely latents: the mean."""
        return self.mean

    def kl(self, other: "DiagonalGaussian | None" = None) -> Tensor:
        """KL(self || other) in nats of every element, in float32 or higher; `other` is the unit Gaussian if `None`.

        ``0.5 * ((σ₁² + (μ₁ - μ₂)²) / σ₂² - 1) - log(σ₁ / σ₂)``, of shape (batch, latent_channels, frames). Nats per
        frame are the sum over channels, ``kl().sum(dim=1).mean()``; ``kl().mean()`` is smaller by the factor
        `latent_channels`.

        Example:
            >>> posterior = DiagonalGaussian(torch.ones(1, 4, 2), torch.ones(1, 4, 2))
            >>> posterior.kl().shape, posterior.kl().sum(dim=1).mean(), posterior.kl().mean()
            (torch.Size([1, 4, 2]), tensor(2.), tensor(0.5000))
        """
        dtype = torch.promote_types(self.mean.dtype, torch.float32)
        mean, std = self.mean.to(dtype), self.std.to(dtype)
        if other is not None:
            other_std = other.std.to(dtype)
            mean, std = (mean - other.mean.to(dtype)) / other_std, std / other_std
        return 0.5 * (mean.square() + std.square() - 1) - std.log()


class PointPosterior(DiagonalGaussian):
    """Latents without noise, from an encoder without a distribution; the KL is infinite.

    Args:
        mean (`torch.Tensor` of shape `(batch, latent_channels, frames)`): The latents.
        std (`torch.Tensor`, *optional*): Zeros.
    """

    has_density = False

    def __init__(self, mean: Tensor, std: Tensor | None = None) -> None:
        super().__init__(mean, torch.zeros_like(mean) if std is None else std)

    def sample(self, generator: torch.Generator | list[torch.Generator] | None = None) -> Tensor:
        """Return the latents."""
        return self.mean


def _flatten(posterior: DiagonalGaussian) -> tuple[list[Tensor], None]:
    return [posterior.mean, posterior.std], None


def _unflatten(tensors: Iterable[Tensor], _: None) -> DiagonalGaussian:
    return DiagonalGaussian(*tensors)


def _unflatten_point(tensors: Iterable[Tensor], _: None) -> PointPosterior:
    return PointPosterior(*tensors)


# Lets `torch.export` and `torch.compile` see the tensors of a posterior in outputs.
MODULE = "hf_audio_vae.modules.distributions"
register_pytree_node(
    DiagonalGaussian, _flatten, _unflatten, serialized_type_name=f"{MODULE}.{DiagonalGaussian.__name__}"
)
register_pytree_node(
    PointPosterior, _flatten, _unflatten_point, serialized_type_name=f"{MODULE}.{PointPosterior.__name__}"
)
