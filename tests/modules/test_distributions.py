import math

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_oobleck import OobleckDiagonalGaussianDistribution
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from hf_audio_vae.modules.distributions import DiagonalGaussian


def gaussian(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> DiagonalGaussian:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(shape, generator=generator, dtype=torch.float64)
    std = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    return DiagonalGaussian(mean.to(dtype), std.to(dtype))


def seeds(*values: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(value) for value in values]


def normal(distribution: DiagonalGaussian) -> Normal:
    return Normal(distribution.mean, distribution.std)


def test_kl_matches_torch_distributions():
    posterior = gaussian(2, 3, 5)
    unit = Normal(torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    torch.testing.assert_close(posterior.kl(), kl_divergence(normal(posterior), unit), rtol=1e-12, atol=1e-12)


def test_kl_from_another_gaussian_matches_torch_distributions():
    posterior, other = gaussian(2, 3, 5), gaussian(2, 3, 5, seed=1)
    reference = kl_divergence(normal(posterior), normal(other))
    torch.testing.assert_close(posterior.kl(other), reference, rtol=1e-12, atol=1e-12)


def test_kl_from_itself_is_zero_and_from_others_positive():
    posterior = gaussian(2, 3, 5)
    assert posterior.kl(posterior).abs().max() < 1e-15
    assert posterior.kl(gaussian(2, 3, 5, seed=1)).min() > 0


def test_kl_equals_its_monte_carlo_estimate():
    posterior, draws = gaussian(1, 1, 1), 200_000
    wide = DiagonalGaussian(posterior.mean.expand(1, 1, draws), posterior.std.expand(1, 1, draws))
    z = wide.sample(torch.Generator().manual_seed(0))
    log_ratio = normal(posterior).log_prob(z) - Normal(0.0, 1.0).log_prob(z)
    five_errors = 5 * float(log_ratio.std()) / math.sqrt(draws)
    assert abs(float(log_ratio.mean()) - float(posterior.kl())) < five_errors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kl_of_any_parameters_is_finite_with_finite_gradients(dtype):
    sizes = (-6e4, -1e3, -20.0, -1e-6, 0.0, 1e-6, 20.0, 1e3, 6e4)
    pairs = torch.cartesian_prod(torch.tensor(sizes), torch.tensor(sizes)).T[None]  # (1, mean and scale, pairs)
    parameters = pairs.to(dtype).requires_grad_()
    posterior = DiagonalGaussian.from_parameters(parameters)
    exact = kl_divergence(Normal(posterior.mean.double(), posterior.std.double()), Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.kl().double(), exact, rtol=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(posterior.kl().sum(), parameters)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_kl_of_half_precision_is_computed_at_float32(dtype):
    posterior, other = gaussian(2, 3, 5, dtype=dtype), gaussian(2, 3, 5, seed=1, dtype=dtype)
    exact = DiagonalGaussian(posterior.mean.float(), posterior.std.float())
    exact_other = DiagonalGaussian(other.mean.float(), other.std.float())
    assert torch.equal(posterior.kl(), exact.kl())
    assert torch.equal(posterior.kl(other), exact.kl(exact_other))


def test_float16_kl_of_a_far_mean_stays_finite():
    far = DiagonalGaussian(torch.full((1, 1, 1), 1000.0).half(), torch.ones(1, 1, 1).half())
    assert float(far.kl()) == 500_000  # its square, 1e6, is beyond float16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_kl_of_half_precision_parameters_is_exact(dtype):
    parameters = (4 * torch.randn(2, 6, 50, generator=torch.Generator().manual_seed(0))).to(dtype)
    exact = DiagonalGaussian.from_parameters(parameters.double()).kl()
    posterior = DiagonalGaussian.from_parameters(parameters)
    torch.testing.assert_close(posterior.kl().double(), exact, rtol=1e-6, atol=1e-6)
    assert posterior.sample(torch.Generator().manual_seed(0)).dtype == posterior.mode().dtype == dtype


def test_sample_repeats_with_its_generator():
    posterior = gaussian(2, 3, 5)
    first, again, other = (posterior.sample(generator) for generator in seeds(0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_one_generator_an_item_makes_its_noise_its_own():
    batch = gaussian(3, 2, 5)
    alone = DiagonalGaussian(batch.mean[1:2], batch.std[1:2])
    assert torch.equal(batch.sample(seeds(7, 8, 9))[1:2], alone.sample(seeds(8)))


def test_samples_have_the_mean_and_the_std():
    draws = 100_000
    posterior = gaussian(2, 3, 1)
    wide = DiagonalGaussian(posterior.mean.expand(2, 3, draws), posterior.std.expand(2, 3, draws))
    z = wide.sample(torch.Generator().manual_seed(0))
    # five standard errors: std / sqrt(n) for a mean, std / sqrt(2 n) for a standard deviation
    error = posterior.std / math.sqrt(draws)
    assert ((z.mean(dim=-1, keepdim=True) - posterior.mean).abs() < 5 * error).all()
    assert ((z.std(dim=-1, keepdim=True) - posterior.std).abs() < 5 * error / math.sqrt(2)).all()


def test_sampling_is_differentiable_in_mean_and_std():
    mean, std = torch.zeros(1, 2, 3, requires_grad=True), torch.ones(1, 2, 3, requires_grad=True)
    z = DiagonalGaussian(mean, std).sample(torch.Generator().manual_seed(0))
    z.sum().backward()
    assert torch.equal(mean.grad, torch.ones_like(mean))
    torch.testing.assert_close(std.grad, z.detach())  # dz / dstd is the noise, which z is here


def test_mode_maximises_the_density():
    posterior = gaussian(2, 3, 5)
    best = normal(posterior).log_prob(posterior.mode())
    for step in (-0.01, 0.01):
        assert (normal(posterior).log_prob(posterior.mode() + step) < best).all()


def test_parameters_mean_what_they_mean_in_oobleck():
    parameters = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    ours, oobleck = DiagonalGaussian.from_parameters(parameters), OobleckDiagonalGaussianDistribution(parameters)
    assert torch.equal(ours.mean, oobleck.mean)
    assert torch.equal(ours.std, oobleck.std)
    assert torch.equal(ours.sample(*seeds(0)), oobleck.sample(*seeds(0)))


def test_logarithms_of_variances_mean_what_they_mean_in_diffusers():
    parameters = 20 * torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))
    ours, theirs = DiagonalGaussian.from_log_variance(parameters), DiagonalGaussianDistribution(parameters)
    assert theirs.logvar.min() == -30
    assert theirs.logvar.max() == 20
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.std, theirs.std)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_std_stays_positive_for_any_parameters(dtype):
    scale: Tensor = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], dtype=dtype).reshape(1, 1, 5)
    posterior = DiagonalGaussian.from_parameters(torch.cat([torch.zeros_like(scale), scale], dim=1))
    assert posterior.std.min() > 0
    assert posterior.kl().isfinite().all()
