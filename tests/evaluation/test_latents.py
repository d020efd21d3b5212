import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from hf_audio_vae.evaluation import LatentStatistics, collapse_warning
from hf_audio_vae.evaluation.latents import ACTIVE_VARIANCE
from hf_audio_vae.modules.distributions import DiagonalGaussian, PointPosterior

FRAME_RATE = 50.0


def posterior(batch: int = 3, channels: int = 4, frames: int = 500, seed: int = 0) -> DiagonalGaussian:
    """Correlated, skewed and offset means, and standard deviations that go with them; float64."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    noise = torch.randn(batch, channels, frames, generator=generator, dtype=torch.float64)
    mean = mixing @ (noise + 0.3 * noise**2) + torch.randn(channels, 1, generator=generator, dtype=torch.float64)
    return DiagonalGaussian(mean, (0.2 * mean - noise).sigmoid() + 1e-4)


def statistics(*posteriors: DiagonalGaussian) -> LatentStatistics:
    result = LatentStatistics(FRAME_RATE)
    for one in posteriors:
        result.add(one)
    return result


def of_frames(mean: Tensor, std: Tensor | float) -> LatentStatistics:
    """From (latent_channels, frames)."""
    return statistics(DiagonalGaussian(mean[None], torch.as_tensor(std, dtype=mean.dtype).expand_as(mean)[None]))


def pieces(whole: DiagonalGaussian, lengths: list[int]) -> list[DiagonalGaussian]:
    """Cut item after item into stretches of these frames."""
    return [
        DiagonalGaussian(mean[None], std[None])
        for item in zip(whole.mean, whole.std, strict=True)
        for mean, std in zip(*(values.split(lengths, dim=-1) for values in item), strict=True)
    ]


def two_pass(whole: DiagonalGaussian) -> dict[str, Tensor]:
    """The same by the textbook: each moment about the mean of everything.

    The aggregate's own moments are Gauss-Hermite quadratures over its components: with five nodes exact for
    polynomials up to the ninth degree.
    """
    mean, std = (values.double().transpose(0, 1).flatten(1).numpy() for values in (whole.mean, whole.std))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    draws = mean[..., None] + std[..., None] * nodes  # (channels, frames, nodes)

    def expectation(values: np.ndarray) -> np.ndarray:
        return (values @ (weights / weights.sum())).mean(axis=1)

    centre = expectation(draws)
    deviation = draws - centre[:, None, None]
    variance = expectation(deviation**2)
    covariance = np.cov(mean, bias=True).reshape(len(mean), len(mean))
    aggregate = MultivariateNormal(torch.tensor(centre), torch.tensor(covariance + np.diag((std**2).mean(axis=1))))
    prior = MultivariateNormal(torch.zeros(len(mean)).double(), torch.eye(len(mean)).double())
    unit = Normal(torch.zeros(()).double(), torch.ones(()).double())
    share = np.linalg.eigvalsh(covariance) / covariance.trace()
    results = {
        "kl_nats": kl_divergence(Normal(torch.tensor(mean), torch.tensor(std)), unit).mean(dim=1),
        "mean_variance": mean.var(axis=1),
        "mean": centre,
        "std": variance**0.5,
        "excess_kurtosis": expectation(deviation**4) / variance**2 - 3,
        "mismatch_nats": kl_divergence(aggregate, prior),
        "effective_rank": np.exp(-(share * np.log(share)).sum()),
    }
    return {name: torch.as_tensor(value) for name, value in results.items()}


def assert_equal_to_two_passes(measured: LatentStatistics, whole: DiagonalGaussian) -> None:
    for name, expected in two_pass(whole).items():
        value = torch.as_tensor(getattr(measured, name), dtype=torch.float64)
        torch.testing.assert_close(
            value, expected, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("offset", [0.0, -40.0, 1e6])
def test_the_stream_equals_two_passes_over_everything(offset):
    whole = posterior()
    whole = DiagonalGaussian(whole.mean + offset, whole.std)
    assert_equal_to_two_passes(statistics(whole), whole)


@pytest.mark.parametrize("lengths", [[500], [1] * 500, [1, 499], [499, 1], [3, 250, 7, 240]])
def test_how_the_frames_are_split_does_not_matter(lengths):
    whole = posterior()
    measured = statistics(*pieces(whole, lengths))
    assert measured.frames == 1500
    assert_equal_to_two_passes(measured, whole)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_sums_of_parts_are_those_of_the_whole(offset):
    whole = posterior()
    whole = DiagonalGaussian(whole.mean + offset, whole.std)
    merged = LatentStatistics(FRAME_RATE)
    merged.add_state_dict(merged.state_dict())  # of nothing
    for piece in pieces(whole, [3, 250, 7, 240]):
        merged.add_state_dict(statistics(piece).state_dict())
    assert merged.frames == 1500
    assert_equal_to_two_passes(merged, whole)


def test_a_first_frame_that_lies_far_off_costs_no_precision():
    whole = posterior()
    whole.mean[0, :, 0] += 1e4
    assert_equal_to_two_passes(statistics(*pieces(whole, [1, 499])), whole)


@pytest.mark.parametrize("channels", [1, 7])
def test_any_number_of_channels_is_described(channels):
    whole = posterior(channels=channels)
    assert_equal_to_two_passes(statistics(whole), whole)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_precision_is_measured_in_float64(dtype):
    whole = posterior()
    whole = DiagonalGaussian(whole.mean.to(dtype), whole.std.to(dtype))
    measured = statistics(whole)
    assert_equal_to_two_passes(measured, whole)
    assert measured.kl_nats.dtype == measured.mean.dtype == torch.float64


def test_draws_from_the_posterior_have_the_aggregates_moments():
    whole = posterior(frames=20_000)
    measured = statistics(whole)
    draws = whole.sample(torch.Generator().manual_seed(1)).transpose(0, 1).flatten(1)
    scaled = (draws - measured.mean[:, None]) / measured.std[:, None]
    for power, expected in ((1, 0.0), (2, 1.0), (4, measured.excess_kurtosis + 3)):
        error = scaled.pow(power).std(dim=1) / math.sqrt(draws.shape[1])
        assert ((scaled.pow(power).mean(dim=1) - expected).abs() < 5 * error).all()


def test_bits_per_second_are_the_kl_at_the_frame_rate():
    measured = of_frames(torch.zeros(1, 10).double() + math.sqrt(2 * math.log(2)), 1.0)  # a bit a frame
    assert measured.bits_per_second.tolist() == pytest.approx([FRAME_RATE])


def test_a_posterior_that_is_the_prior_carries_nothing():
    measured = of_frames(torch.zeros(3, 100), 1.0)
    assert measured.kl_nats.tolist() == measured.mean_variance.tolist() == [0.0] * 3
    assert measured.mean.tolist() == measured.excess_kurtosis.tolist() == [0.0] * 3
    assert measured.std.tolist() == [1.0] * 3
    assert not measured.active.any()
    assert measured.mismatch_nats == measured.effective_rank == 0.0


def test_a_standard_normal_aggregate_has_no_mismatch_though_it_carries_bits():
    ranks = (torch.arange(100_000).double() + 0.5) / 100_000
    mean = 0.8 * Normal(0.0, 1.0).icdf(ranks)[None]
    mean = mean * 0.8 / mean.std(correction=0)
    measured = of_frames(mean, 0.6)
    assert measured.mismatch_nats == pytest.approx(0, abs=1e-12)
    assert measured.excess_kurtosis.item() == pytest.approx(0, abs=1e-3)  # quantiles cut the tails
    assert measured.kl_nats.item() == pytest.approx(-math.log(0.6))


@pytest.mark.parametrize("std", [1e-4, 0.1, 1.0, 3.0])
def test_two_points_have_the_kurtosis_of_a_two_gaussian_mixture(std):
    measured = of_frames(torch.tensor([[5.0, 7.0]]).repeat(1, 100).double(), std)
    assert measured.excess_kurtosis.item() == pytest.approx(-2 / (1 + std**2) ** 2, abs=1e-9)


def test_long_tails_have_positive_kurtosis():
    # Means at 0 but for a share p: kurtosis 1 / p - 3 as p -> 0, exactly (1 - 3 p (1 - p)) / (p (1 - p)) - 3.
    mean = torch.zeros(1, 1000).double()
    mean[0, :10] = 1.0
    spread = 0.01 * 0.99
    assert of_frames(mean, 1e-6).excess_kurtosis.item() == pytest.approx((1 - 3 * spread) / spread - 3, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_mismatch_is_at_most_the_kl(seed):
    measured = statistics(posterior(seed=seed))
    assert 0 < measured.mismatch_nats < measured.kl_nats.sum()


def test_the_mismatch_is_the_kl_if_every_frame_is_the_same():
    measured = of_frames(torch.tensor([[0.5], [-2.0]]).expand(2, 30).double(), torch.tensor([[0.3], [2.0]]))
    assert measured.mismatch_nats == pytest.approx(measured.kl_nats.sum().item())


def test_turning_the_latents_changes_neither_mismatch_nor_effective_rank():
    mean = posterior().mean[0]
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)).Q
    before, after = of_frames(mean, 0.5), of_frames(turn @ mean, 0.5)
    assert after.mismatch_nats == pytest.approx(before.mismatch_nats)
    assert after.effective_rank == pytest.approx(before.effective_rank)
    assert not torch.allclose(after.std, before.std)


def test_copies_of_one_channel_have_effective_rank_one():
    mean = posterior(channels=1).mean[0]
    measured = of_frames(torch.cat([mean, -2 * mean, mean + 5]), 0.5)
    assert measured.effective_rank == pytest.approx(1)
    assert measured.active.all()


@pytest.mark.parametrize(("scales", "rank"), [((1, 1, 1), 3.0), ((2, 2, 0), 2.0), ((3**0.5, 1, 0), 1.7547654)])
def test_uncorrelated_channels_count_by_their_variance(scales, rank):
    # Variances of 3 and 1: exp(0.75 ln(4 / 3) + 0.25 ln 4).
    walsh = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]).double()
    measured = of_frames(torch.tensor(scales).double()[:, None] * walsh + 0.1, 0.5)
    assert measured.effective_rank == pytest.approx(rank)
    assert measured.eigenvalues.tolist() == pytest.approx([scale**2 for scale in scales])


@pytest.mark.parametrize("value", [0.1, -1.7, 1e6 / 3])
def test_a_channel_that_never_changes_has_no_variance_at_all(value):
    # Rounding noise has eigenvalues, too, and they would have an effective rank.
    whole = DiagonalGaussian(torch.full((1, 3, 1000), value, dtype=torch.float64), torch.full((1, 3, 1000), 0.5))
    measured = statistics(*pieces(whole, [7, 993]))
    assert measured.mean_variance.tolist() == [0.0] * 3
    assert measured.effective_rank == 0.0
    assert measured.mean.tolist() == [value] * 3


def test_a_channel_is_active_from_a_variance_of_one_hundredth():
    mean = torch.tensor([[0.0995], [0.1005], [-3.0]]) * torch.tensor([1.0, -1.0])
    mean[2] = -3.0  # far from the prior, but always the same
    assert of_frames(mean.double(), 0.1).active.tolist() == [False, True, False]


def test_a_variance_of_exactly_one_hundredth_is_active():
    mean = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.25]], dtype=torch.float64)
    measured = of_frames(mean, 0.1)
    assert measured.mean_variance.item() == ACTIVE_VARIANCE
    assert measured.active.tolist() == [True]
    assert collapse_warning(measured, 1.0) is None


def test_no_graph_is_kept():
    whole = posterior()
    measured = statistics(DiagonalGaussian(whole.mean.requires_grad_(), whole.std))
    assert not any(values.requires_grad for values in measured.by_channel().values())


def test_the_summary_is_over_all_channels():
    measured = statistics(posterior())
    summary = measured.summary()
    assert summary["bits_per_second"] == pytest.approx(measured.kl_nats.sum().item() / math.log(2) * FRAME_RATE)
    assert summary["active_units"] == 4 * summary["active_share"] == measured.active.sum()
    assert summary["mismatch_nats"] == measured.mismatch_nats
    assert summary["effective_rank"] == measured.effective_rank
    assert summary["mean_std"] == pytest.approx(measured.std.mean().item())
    assert all(type(value) is float for value in summary.values())


def some_active(active: int, channels: int) -> LatentStatistics:
    scales = torch.tensor([1.0] * active + [0.05] * (channels - active))[:, None]
    return of_frames(scales * torch.tensor([1.0, -1.0]), 0.5)


def test_a_collapse_is_told_in_one_line_with_what_to_change():
    message = collapse_warning(some_active(2, 8), 0.5) or "silence"
    assert "2 of 8 channels are active" in message
    assert "at least 0.01" in message
    assert "share of 0.5" in message
    assert all(f"`{option}`" in message for option in ("weights.kl", "schedule", "free_bits"))
    assert "kl_weight" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("active", "share", "speaks"), [(4, 0.5, False), (3, 0.5, True), (0, 0.0, False), (7, 1.0, True), (8, 1.0, False)]
)
def test_the_warning_speaks_under_the_share_that_is_wanted(active, share, speaks):
    assert (collapse_warning(some_active(active, 8), share) is not None) == speaks


@pytest.mark.parametrize("share", [-0.1, 1.1, 50.0, math.nan])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="from 0 to 1"):
        collapse_warning(some_active(4, 8), share)


@pytest.mark.parametrize("frame_rate", [0.0, -1.0, math.inf, math.nan])
def test_a_frame_rate_that_is_none_is_refused(frame_rate):
    with pytest.raises(ValueError, match="`frame_rate` is"):
        LatentStatistics(frame_rate)


def test_nothing_is_said_of_no_latents():
    empty = LatentStatistics(FRAME_RATE)
    names = ["active", "mismatch_nats", "effective_rank", "eigenvalues", "mean", "std", "kl_nats", "excess_kurtosis"]
    for name in names:
        with pytest.raises(ValueError, match="`add` at least one posterior"):
            getattr(empty, name)
    with pytest.raises(ValueError, match="`add` at least one posterior"):
        collapse_warning(empty, 0.5)
    assert empty.frames == 0


def spoiled(name: str, value: float) -> DiagonalGaussian:
    whole = posterior()
    getattr(whole, name)[1, 2, 3] = value
    return whole


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (posterior(channels=5), "5 channels, earlier posteriors have 4"),
        (spoiled("mean", math.nan), "`mean` holds NaN"),
        (spoiled("std", math.nan), "`std` holds NaN"),
        (spoiled("mean", -math.inf), "`mean` holds NaN or infinite"),
        (spoiled("std", 0.0), "`std` is 0 somewhere"),
        (spoiled("std", -0.5), "`std` is -0.5 somewhere"),
        (DiagonalGaussian(torch.zeros(4, 5), torch.ones(4, 5)), r"`mean` is \(4, 5\)"),
        (DiagonalGaussian(torch.zeros(1, 4, 5), torch.ones(1, 4, 1)), r"`std` \(1, 4, 1\)"),
        (posterior(frames=0), "at least one frame"),
    ],
)
def test_a_posterior_that_is_refused_leaves_no_trace(bad, message):
    whole = posterior()
    measured = statistics(whole)
    with pytest.raises(ValueError, match=message):
        measured.add(bad)
    assert measured.frames == 1500
    assert_equal_to_two_passes(measured, whole)


def test_latents_without_noise_have_finite_statistics() -> None:
    """Their KL is infinite, and that of a constant channel is no number."""
    mean = torch.stack([torch.linspace(-1, 1, 50), torch.full((50,), 3.0)])[None]
    measured = LatentStatistics(FRAME_RATE)
    measured.add(PointPosterior(mean))
    assert not measured.has_information and measured.order.tolist() == [0, 1]
    values = measured.by_channel()
    assert "kl_nats" not in values and all(bool(value.isfinite().all()) for value in values.values())
    assert not {"bits_per_second", "mismatch_nats"} & measured.summary().keys()
    assert all(map(math.isfinite, measured.summary().values()))
