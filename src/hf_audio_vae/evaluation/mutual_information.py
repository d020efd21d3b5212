"""Information of latents about the data."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.modules.distributions import DiagonalGaussian


@dataclass(frozen=True)
class Information:
    """The parts of the mean KL of a data set, in nats per item (Hoffman & Johnson, 2016, "ELBO surgery").

    Args:
        kl (`float`): Mean KL of the posteriors from the prior.
        mutual_information (`float`): Information of latents about the index of the item, at most `limit`.
        limit (`float`): Logarithm of the number of items. An estimate near it is a lower bound.
    """

    kl: float
    mutual_information: float
    limit: float

    @property
    def marginal_kl(self) -> float:
        """KL of the aggregate posterior from the prior."""
        return self.kl - self.mutual_information


def information(posterior: DiagonalGaussian, latents: Tensor) -> Information:
    """Estimate the mutual information of items and latents, as He et al., 2019, arXiv:1901.05534.

    ``I = E[KL] - KL(q(z) || p(z))``, where the aggregate posterior q(z) is the mean of all posteriors.

    Args:
        posterior (`DiagonalGaussian`): Posteriors of all items, over (items, latent_channels, num_latents).
        latents (`torch.Tensor`, same shape): A sample of each.

    Raises:
        ValueError: There are no items.

    Example:
        >>> posterior = DiagonalGaussian(torch.tensor([[[0.0]], [[9.0]]]), torch.ones(2, 1, 1))
        >>> round(information(posterior, posterior.mean).mutual_information, 3)  # two items that latents tell apart
        0.693
    """
    count = len(latents)
    if not count:
        raise ValueError("there are no latents to measure; give at least one item.")
    mean, std, z = (values.detach().cpu().double().flatten(1) for values in (posterior.mean, posterior.std, latents))
    # Log densities of the sample of item i under the posterior of item j, and under its own.
    densities = torch.stack([_log_density((item - mean) / std, std) for item in z])
    own = densities.diagonal()
    aggregate = densities.logsumexp(dim=1) - math.log(count)
    kl = DiagonalGaussian(mean, std).kl().sum(dim=1).mean()
    return Information(kl.item(), (own - aggregate).mean().item(), math.log(count))


def _log_density(standardised: Tensor, std: Tensor) -> Tensor:
    """Log density of a Gaussian of each row, without the constant."""
    return (-0.5 * standardised.square() - std.log()).sum(dim=1)
