import math

import pytest
import torch

from hf_audio_vae.evaluation.mutual_information import information
from hf_audio_vae.modules.distributions import DiagonalGaussian


def test_items_that_latents_tell_apart_have_all_the_information_there_is() -> None:
    mean = 100 * torch.eye(7)[:, :, None]
    found = information(DiagonalGaussian(mean, torch.ones(7, 7, 1)), mean)
    assert found.mutual_information == pytest.approx(math.log(7)) == found.limit
    assert found.kl == pytest.approx(5000)


def test_a_collapsed_posterior_has_none() -> None:
    posterior = DiagonalGaussian(torch.zeros(50, 3, 2), torch.ones(50, 3, 2))
    found = information(posterior, posterior.sample(torch.Generator().manual_seed(0)))
    assert (found.kl, found.mutual_information, found.marginal_kl) == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_gaussian_channel_has_the_information_of_its_signal_to_noise_ratio() -> None:
    """Means N(0, 3) with variance 1: half the logarithm of 1 + 3, and a marginal KL of 4 against the prior."""
    generator = torch.Generator().manual_seed(0)
    mean = 3**0.5 * torch.randn(3000, 1, 1, generator=generator)
    posterior = DiagonalGaussian(mean, torch.ones_like(mean))
    found = information(posterior, posterior.sample(generator))
    assert found.mutual_information == pytest.approx(0.5 * math.log(4), abs=0.06)  # 3 standard errors
    assert found.marginal_kl == pytest.approx(0.5 * (4 - 1 - math.log(4)), abs=0.1)


def test_no_items_are_refused() -> None:
    with pytest.raises(ValueError, match="no latents to measure"):
        information(DiagonalGaussian(torch.zeros(0, 1, 1), torch.ones(0, 1, 1)), torch.zeros(0, 1, 1))
