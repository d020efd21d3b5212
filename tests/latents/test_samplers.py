import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.latents import (
    AutoregressiveGaussian,
    CorrelatedGaussian,
    FrameMoments,
    GaussianMixture,
    LatentSampler,
    StandardNormal,
)
from hf_audio_vae.latents.autoregression import spectral_radius, yule_walker
from hf_audio_vae.latents.noise import frame_noise

MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
COVARIANCE = torch.tensor([[4.0, 1.0, 0.0], [1.0, 1.0, -0.3], [0.0, -0.3, 0.5]], dtype=torch.float64)
# Rows and columns of the matrix differ, so that a transposed one is another process.
FIRST = torch.tensor([[0.7, 0.3, 0.0], [-0.2, 0.5, 0.1], [0.0, 0.0, -0.6]], dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def autocovariances(order: int) -> Tensor:
    """Those of ``x_t = FIRST x_{t-1} + u_t`` with innovations of covariance COVARIANCE: Γ(0) = A Γ(0) Aᵀ + Σ."""
    powers = [torch.linalg.matrix_power(FIRST, k) for k in range(200)]
    stationary = sum(power @ COVARIANCE @ power.T for power in powers)
    return torch.stack([power @ stationary for power in powers[: order + 1]])


def mixture() -> GaussianMixture:
    means = torch.stack([MEAN, MEAN + 30])
    return GaussianMixture(torch.tensor([0.25, 0.75]), means, torch.stack([COVARIANCE, 0.1 * COVARIANCE]))


def samplers() -> dict[str, LatentSampler]:
    return {
        "standard": StandardNormal(MEAN, COVARIANCE.diagonal().sqrt()),
        "gaussian": CorrelatedGaussian(MEAN, COVARIANCE),
        "autoregressive": AutoregressiveGaussian(MEAN, autocovariances(2)),
        "mixture": mixture(),
    }


def moments_of(drawn: Tensor, order: int) -> FrameMoments:
    moments = FrameMoments(order)
    for item in drawn:
        moments.add(item, torch.zeros_like(item))
    return moments


def test_an_autoregression_is_recovered_from_its_covariances() -> None:
    coefficients, innovation = yule_walker(autocovariances(2))
    torch.testing.assert_close(coefficients, torch.stack([FIRST, torch.zeros(3, 3, dtype=torch.float64)]))
    torch.testing.assert_close(innovation, COVARIANCE)
    sampler = AutoregressiveGaussian(MEAN, autocovariances(2))
    assert sampler.spectral_radius == pytest.approx(float(torch.linalg.eigvals(FIRST).abs().max()), rel=1e-6)


@pytest.mark.parametrize("order", [1, 3])
def test_samples_have_the_covariances_of_all_lags_from_the_first_frame_on(order: int) -> None:
    """Of another process than that of the order; 40000 items and their standard errors."""
    expected = autocovariances(order)
    drawn = AutoregressiveGaussian(MEAN, expected).sample(6, batch=40000, generator=seeded()).double()
    x = drawn - MEAN[:, None]
    error = float(expected[0].diagonal().max()) / 40000**0.5
    for lag in range(order + 1):
        for t in range(6 - lag):
            measured = torch.einsum("bi,bj->ij", x[:, :, t + lag], x[:, :, t]) / len(x)
            assert (measured - expected[lag]).abs().max() < 6 * error, (lag, t)


def test_a_measured_autoregression_is_that_of_the_data() -> None:
    data = AutoregressiveGaussian(MEAN, autocovariances(1)).sample(20000, batch=5, generator=seeded())
    moments = moments_of(data.double(), 2)
    coefficients, innovation = yule_walker(moments.covariances)
    torch.testing.assert_close(coefficients[0], FIRST, rtol=0, atol=0.03)
    torch.testing.assert_close(innovation, COVARIANCE, rtol=0, atol=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_measured_covariances_are_always_stationary(seed: int) -> None:
    """Also those of few, short and growing items, whose unbiased estimates are not."""
    moments = FrameMoments(3)
    for frames in (2, 5, 9, 4):
        walk = torch.randn(3, frames, generator=seeded(seed + frames)).cumsum(dim=1).cumsum(dim=1)
        moments.add(walk, torch.full((3, frames), 0.1))
    assert AutoregressiveGaussian(moments.mean, moments.covariances).spectral_radius < 1


def test_covariances_of_no_process_are_refused() -> None:
    explosive = torch.stack([COVARIANCE, 1.5 * COVARIANCE])
    with pytest.raises(ValueError, match="not stationary|not positive definite"):
        AutoregressiveGaussian(MEAN, explosive)
    with pytest.raises(ValueError, match="give those of lag 1"):
        AutoregressiveGaussian(MEAN, COVARIANCE[None])
    assert spectral_radius(torch.stack([0 * FIRST, FIRST])) == pytest.approx(
        float(torch.linalg.eigvals(FIRST).abs().max()) ** 0.5
    )


def test_independent_frames_have_the_covariance_and_no_covariance_with_their_neighbours() -> None:
    drawn = CorrelatedGaussian(MEAN, COVARIANCE).sample(50000, generator=seeded()).double()
    moments = moments_of(drawn, 1)
    torch.testing.assert_close(moments.covariances[0], COVARIANCE, rtol=0, atol=0.1)
    assert moments.covariances[1].abs().max() < 0.1
    normal = moments_of(samplers()["standard"].sample(50000, generator=seeded()).double(), 0)
    torch.testing.assert_close(normal.covariances[0], COVARIANCE.diagonal().diag(), rtol=0, atol=0.1)
    torch.testing.assert_close(normal.mean, MEAN, rtol=0, atol=0.04)


def test_a_mixture_has_its_components() -> None:
    drawn = mixture().sample(40000, generator=seeded())[0].double()
    near = drawn[0] < 16
    assert float(near.double().mean()) == pytest.approx(0.25, abs=0.01)
    for rows, mean, covariance in ((near, MEAN, COVARIANCE), (~near, MEAN + 30, 0.1 * COVARIANCE)):
        moments = moments_of(drawn[None, :, rows], 0)
        torch.testing.assert_close(moments.mean, mean, rtol=0, atol=0.1)
        torch.testing.assert_close(moments.covariances[0], covariance, rtol=0, atol=0.15)


@pytest.mark.parametrize("name", ["standard", "gaussian", "autoregressive"])
def test_the_temperature_scales_deviations_from_the_mean(name: str) -> None:
    sampler = samplers()[name]
    drawn = sampler.sample(50, batch=3, generator=seeded())
    half = sampler.sample(50, batch=3, generator=seeded(), temperature=0.5)
    torch.testing.assert_close(half - MEAN[:, None].float(), 0.5 * (drawn - MEAN[:, None].float()))
    still = sampler.sample(2, temperature=0.0)
    torch.testing.assert_close(still, MEAN[:, None].float().expand(1, 3, 2))


def test_a_mixture_at_temperature_0_has_the_means_of_its_components() -> None:
    still = mixture().sample(50, generator=seeded(), temperature=0.0)[0, 0]
    assert set(still.tolist()) == {1.0, 31.0}


@pytest.mark.parametrize(("channels", "truncation"), [(3, 1.0), (3, 0.2), (32, 0.9), (256, 1.2)])
def test_truncated_noise_is_gaussian_noise_that_was_drawn_until_it_was_near_enough(
    channels: int, truncation: float
) -> None:
    noise = frame_noise(1, 4000, channels, generator=seeded(), truncation=truncation)[0]
    norms, radius = noise.norm(dim=1), truncation * channels**0.5
    assert norms.max() <= radius * (1 + 1e-9)
    assert norms.max() > 0.99 * radius or truncation > 1.1  # and nothing nearer is cut
    candidates = torch.randn(200_000 if channels < 100 else 20_000, channels, generator=seeded(1)).norm(dim=1)
    accepted = candidates[candidates <= radius].double()
    if len(accepted) > 500:
        quantiles = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
        spread = float(accepted.std())
        error = 8 * spread / min(len(accepted), 4000) ** 0.5
        torch.testing.assert_close(norms.quantile(quantiles), accepted.quantile(quantiles), rtol=0, atol=error)


def test_a_radius_without_any_probability_in_float64_is_filled_evenly() -> None:
    noise = frame_noise(1, 20000, 2000, generator=seeded(), truncation=0.01)[0]
    shares = (noise.norm(dim=1) / (0.01 * math.sqrt(2000))).pow(2000)  # of the volume
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.01)


def test_the_distance_of_independent_frames_is_at_most_the_truncation() -> None:
    drawn = CorrelatedGaussian(MEAN, COVARIANCE).sample(2000, generator=seeded(), truncation=0.8)[0].double()
    x = drawn - MEAN[:, None]
    distances = (x * torch.linalg.solve(COVARIANCE, x)).sum(dim=0) / 3
    assert distances.max() <= 0.8**2 * (1 + 1e-5)


@pytest.mark.parametrize("name", ["standard", "gaussian", "autoregressive", "mixture"])
def test_shape_and_seed(name: str) -> None:
    sampler = samplers()[name]
    for frames in (1, 2, 7):
        drawn = sampler.sample(frames, batch=2, generator=seeded(3), truncation=1.0)
        assert drawn.shape == (2, 3, frames) and drawn.dtype == torch.float32 and drawn.is_contiguous()
        assert torch.equal(drawn, sampler.sample(frames, batch=2, generator=seeded(3), truncation=1.0))
        assert not torch.equal(drawn, sampler.sample(frames, batch=2, generator=seeded(4), truncation=1.0))


@pytest.mark.parametrize(
    "options",
    [
        {"frames": 0},
        {"batch": 0},
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"truncation": 0.0},
        {"truncation": math.inf},
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"`{name}` is"):
        samplers()["gaussian"].sample(**{"frames": 3, **options})
