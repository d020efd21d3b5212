"""Fréchet and kernel distance against closed forms, and their bias."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.evaluation.set_distances import (
    EmbeddingStatistics,
    extrapolated_frechet_distance,
    frechet_distance,
    kernel_distance,
    median_distance,
    squared_mmd,
)


def normal(count: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def exactly(mean: Tensor, covariance: Tensor, seed: int = 0) -> Tensor:
    """A sample whose own mean and covariance are exactly these."""
    values = normal(4 * len(mean), len(mean), seed)
    values = values - values.mean(dim=0)
    white = values @ torch.linalg.inv(torch.linalg.cholesky(values.T.cov())).T
    return mean + white @ torch.linalg.cholesky(covariance).T


def fad(estimate: Tensor, target: Tensor) -> float:
    return frechet_distance(EmbeddingStatistics.of(estimate), EmbeddingStatistics.of(target))


def random_covariance(dim: int, seed: int) -> Tensor:
    factor = normal(dim, dim, seed)
    return factor @ factor.T + 0.1 * torch.eye(dim)


@pytest.mark.parametrize("parts", [1, 3, 50])
def test_streamed_statistics_are_those_of_the_whole(parts: int) -> None:
    values = 1e6 + normal(500, 6) * torch.tensor([1e-3, 1, 1, 1, 10, 100])
    statistics = EmbeddingStatistics()
    for part in values.chunk(parts):
        statistics.add(part)
    assert statistics.count == 500
    torch.testing.assert_close(statistics.mean, values.mean(dim=0))
    torch.testing.assert_close(statistics.covariance, values.T.cov(), rtol=1e-6, atol=1e-9)


def test_the_frechet_distance_of_commuting_gaussians_is_the_closed_form() -> None:
    first, second = torch.tensor([1.0, 4.0, 9.0]).double(), torch.tensor([4.0, 4.0, 1.0]).double()
    estimate = exactly(torch.tensor([1.0, 0, 0]).double(), torch.diag(first))
    target = exactly(torch.tensor([0, 2.0, 0]).double(), torch.diag(second), seed=1)
    # |m1 - m2|² = 5, and the squares of the differences of standard deviations: 1 + 0 + 4.
    assert fad(estimate, target) == pytest.approx(10, rel=1e-9)


def test_the_frechet_distance_equals_the_root_of_the_product() -> None:
    one, two = random_covariance(8, 1), random_covariance(8, 2)
    roots = np.sqrt(np.linalg.eigvals((one @ two).numpy()).real).sum()
    expected = float(one.trace() + two.trace()) - 2 * roots
    zero = torch.zeros(8).double()
    assert fad(exactly(zero, one), exactly(zero, two, seed=1)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_frechet_distance_of_a_set_to_itself_is_zero(scale: float) -> None:
    values = scale * (normal(400, 64) @ normal(64, 64, seed=1)) + 3 * scale
    distance = fad(values, values)
    assert 0 <= distance <= 1e-6 * float(values.T.cov().trace())


def test_constant_dimensions_leave_the_frechet_distance_finite() -> None:
    values = normal(100, 8)
    values[:, 4:] = 0  # the covariance is singular
    other = values + torch.eye(8)[7].double()
    assert fad(other, values) == pytest.approx(1, rel=1e-6)
    silence = torch.zeros(100, 8)
    assert fad(silence, silence) == 0


def test_the_frechet_distance_is_biased_upwards_and_extrapolation_removes_most() -> None:
    target = EmbeddingStatistics.of(normal(20_000, 16, seed=1000))
    plain, extrapolated = [], []
    for seed in range(8):
        estimate = normal(200, 16, seed)
        plain.append(frechet_distance(EmbeddingStatistics.of(estimate), target))
        generator = torch.Generator().manual_seed(seed)
        extrapolated.append(extrapolated_frechet_distance(estimate, target, generator))
    assert min(plain) > 0.3  # 0 for endless samples
    assert np.mean(extrapolated) < 0.2 * np.mean(plain)


def test_too_few_embeddings_are_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"`estimate` has 8 embeddings of 8 dimensions.*longer clips.*kernel_dist"):
        fad(normal(8, 8), normal(20, 8))
    assert math.isfinite(fad(normal(9, 8), normal(20, 8)))
    with pytest.raises(ValueError, match="needs at least 18"):
        extrapolated_frechet_distance(normal(17, 8), EmbeddingStatistics.of(normal(20, 8)))
    with pytest.raises(ValueError, match="1 embeddings have no covariance"):
        _ = EmbeddingStatistics.of(normal(1, 8)).covariance
    with pytest.raises(ValueError, match="at least 2 of each"):
        squared_mmd(normal(1, 8), normal(9, 8), 1.0)


def slow_squared_mmd(x: Tensor, y: Tensor, bandwidth: float) -> float:
    def mean(a: Tensor, b: Tensor, skip: bool) -> float:
        values = [
            math.exp(-float((p - q).square().sum()) / (2 * bandwidth**2))
            for i, p in enumerate(a)
            for j, q in enumerate(b)
            if not (skip and i == j)
        ]
        return sum(values) / len(values)

    return mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)


def test_the_squared_mmd_equals_the_slow_formula() -> None:
    x, y = 100 + normal(12, 3), 100.5 + normal(9, 3, seed=1)
    assert squared_mmd(x, y, 1.3) == pytest.approx(slow_squared_mmd(x, y, 1.3), rel=1e-9)


def test_blocks_of_rows_do_not_change_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(25, 3), normal(25, 3, seed=1)
    whole = [squared_mmd(x, y, 1.0, paired=paired) for paired in (False, True)]
    monkeypatch.setattr("hf_audio_vae.evaluation.set_distances.BLOCK_ROWS", 7)
    assert [squared_mmd(x, y, 1.0, paired=paired) for paired in (False, True)] == pytest.approx(whole, rel=1e-9)


def test_the_kernel_distance_is_a_hundred_times_with_the_median_distance() -> None:
    x, y = normal(50, 4) + 1, normal(40, 4, seed=1)
    distances = [float((y[i] - y[j]).square().sum().sqrt()) for i in range(40) for j in range(i)]
    assert median_distance(y) == pytest.approx(sorted(distances)[(len(distances) - 1) // 2])
    assert kernel_distance(x, y) == pytest.approx(100 * squared_mmd(x, y, median_distance(y)))


@pytest.mark.parametrize("paired", [False, True])
def test_two_halves_of_one_distribution_have_a_mean_of_zero(paired: bool) -> None:
    values = []
    for seed in range(300):
        x, y = normal(40, 5, seed).chunk(2)
        values.append(squared_mmd(x, y, 3.0, paired=paired))
    error = np.std(values) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0


def test_only_the_paired_estimate_is_unbiased_for_similar_pairs() -> None:
    paired, unpaired = [], []
    for seed in range(300):
        x = normal(20, 5, seed)
        # Another draw of the same distribution, with a correlation of 0.95.
        y = 0.95 * x + math.sqrt(1 - 0.95**2) * normal(20, 5, seed=1000 + seed)
        paired.append(squared_mmd(x, y, 3.0, paired=True))
        unpaired.append(squared_mmd(x, y, 3.0))
    assert abs(np.mean(paired)) < 3 * np.std(paired) / math.sqrt(300)
    assert np.mean(unpaired) < -3 * np.std(unpaired) / math.sqrt(300)
    assert squared_mmd(x, x, 3.0, paired=True) == pytest.approx(0, abs=1e-12)


def test_the_distances_grow_with_a_shift() -> None:
    target = normal(400, 8)
    shifts = [0.0, 0.1, 0.3, 1.0, 3.0]
    for measure in (fad, kernel_distance, lambda x, y: kernel_distance(x, y, paired=True)):
        values = [measure(normal(400, 8, seed=1) + shift, target) for shift in shifts]
        assert values[0] >= 0
        assert values[1:] == sorted(set(values[1:]))
        assert values[-1] > 10 * values[1]


def test_a_negative_estimate_is_reported_as_zero() -> None:
    x = normal(20, 4)
    assert squared_mmd(x, x, 1.0) < 0
    assert kernel_distance(x, x) == 0


def test_faults_are_named() -> None:
    x = normal(20, 4)
    with pytest.raises(ValueError, match=r"shape \(1, 20, 4\)"):
        EmbeddingStatistics.of(x[None])
    with pytest.raises(ValueError, match="NaN or infinite"):
        kernel_distance(x / 0, x)
    with pytest.raises(ValueError, match="4 and 3 dimensions"):
        kernel_distance(x, x[:, :3])
    with pytest.raises(ValueError, match="earlier ones have 4"):
        EmbeddingStatistics.of(x).add(x[:, :3])
    with pytest.raises(ValueError, match="20 and 19 embeddings are no pairs"):
        kernel_distance(x, x[1:], paired=True)
    with pytest.raises(ValueError, match="most embeddings are equal"):
        kernel_distance(x, torch.zeros(20, 4))
    with pytest.raises(ValueError, match="`bandwidth` is 0.0"):
        squared_mmd(x, x, 0.0)
