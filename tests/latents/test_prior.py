"""The prior of latents: its file, its distances, and its mixture."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from hf_audio_vae.latents import FrameMoments, FrameReservoir, GaussianMixture, LatentPrior, PriorInfo, fit_mixture
from hf_audio_vae.latents.prior import PRIORS, quantiles_of

ROOT = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)  # of the covariance [[4, 2], [2, 1.25]]
INFO = PriorInfo("1a-2b", 50.0, "sounds", "train", items=9, frames=900, held_out_items=1)


def clip(frames: int, seed: int, scale: float = 1.0) -> Tensor:
    """Gaussian latents of the covariance ``ROOT ROOTᵀ`` around (3, -1)."""
    noise = torch.randn(2, frames, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale * ROOT @ noise + torch.tensor([[3.0], [-1.0]], dtype=torch.float64)


def prior(*, mixture: bool = True, distances: Tensor | None = None) -> LatentPrior:
    moments = FrameMoments(2)
    for seed in range(20):
        moments.add(clip(500, seed), torch.zeros(2, 500))
    parts = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None]) if mixture else None
    return LatentPrior.of(moments, INFO, distances=distances, mixture=parts)


def test_the_distance_is_1_for_the_data_and_grows_with_the_square_of_the_scale() -> None:
    assert prior().distance(clip(50_000, 100)) == pytest.approx(1, abs=0.03)
    assert prior().distance(clip(50_000, 100, scale=2.0)) == pytest.approx(4, abs=0.1)
    point = prior().mean[:, None] + ROOT @ torch.tensor([[3.0], [0.0]], dtype=torch.float64)
    assert prior().distance(point) == pytest.approx(9 / 2, abs=0.2)  # of one frame: |3|² / 2 channels


def test_a_move_along_an_axis_of_the_prior_is_in_deviations_of_the_data() -> None:
    axes = prior().principal_axes
    torch.testing.assert_close(axes.variances.sum(), prior().std.square().sum())
    torch.testing.assert_close(axes.directions @ prior().covariances[0] @ axes.directions.T, axes.variances.diag())
    moved = axes.move(prior().mean[:, None], 0, 2.0)
    assert float(axes.measure(moved)[0, 0]) == pytest.approx(2)


def test_percentiles_of_clips_that_were_not_measured_are_uniform() -> None:
    fitted = prior()
    calibrated = prior(distances=quantiles_of([fitted.distance(clip(20, seed)) for seed in range(1000, 3000)]))
    percentiles = torch.tensor([calibrated.percentile(calibrated.distance(clip(20, s))) for s in range(5000, 7000)])
    expected = torch.linspace(10, 90, 9)
    measured = percentiles.quantile(expected / 100)
    # Two standard errors of a quantile of 2000, of the calibration and of the measurement each.
    torch.testing.assert_close(measured, expected, rtol=0, atol=2 * 2 * 100 * 0.5 / 2000**0.5)
    assert calibrated.percentile(0.0) == 0.0 and calibrated.percentile(1e6) == 100.0
    assert fitted.percentile(1.0) is None
    assert quantiles_of([]) is None


def test_percentiles_are_interpolated_between_held_out_clips() -> None:
    calibrated = prior(distances=quantiles_of([1.0, 2.0, 4.0]))
    assert [calibrated.percentile(d) for d in (1.0, 1.5, 2.0, 3.0, 4.0)] == pytest.approx([0, 25, 50, 75, 100])


def test_a_file_gives_the_same_prior(tmp_path: Path) -> None:
    saved = prior(distances=quantiles_of([1.0, 2.0]))
    saved.save(tmp_path / "prior")
    loaded = LatentPrior.load(tmp_path / "prior")
    assert loaded.info == INFO
    assert loaded.percentile(1.5) == saved.percentile(1.5)
    for name in PRIORS:
        drawn = [p.sampler(name).sample(5, generator=torch.Generator().manual_seed(0)) for p in (saved, loaded)]
        assert torch.equal(*drawn), name
    prior(mixture=False).save(tmp_path / "prior")
    plain = LatentPrior.load(tmp_path / "prior")
    assert plain.percentile(1.0) is None
    with pytest.raises(ValueError, match=r"no mixture.*hf-audio-vae\[latents\]"):
        plain.sampler("mixture")
    with pytest.raises(ValueError, match="`prior` is 'uniform'; use one of"):
        plain.sampler("uniform")


def test_another_model_is_named_and_an_older_fingerprint_is_known() -> None:
    prior().check_model("1a-2b")
    prior().check_model("1a")
    with pytest.raises(ValueError, match="a model with other weights; measure it again with `hf-audio-vae statistics"):
        prior().check_model("9f-2b")
    with pytest.raises(ValueError, match="other configuration values"):
        prior().check_model("1a-9f")


def test_damaged_files_and_files_of_other_formats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "prior"
    prior().save(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    for changed, information, message in (
        ({"mean": tensors["mean"] + 1}, {}, "is damaged.*checksum"),
        ({}, {"frames": "901"}, "is damaged.*checksum"),
        ({}, {"format": "hf_audio_vae.latents.v2"}, "has format 'hf_audio_vae.latents.v2'"),
    ):
        save_file(tensors | changed, path, metadata | information)
        with pytest.raises(ValueError, match=message):
            LatentPrior.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a readable safetensors file of the statistics of latents"):
        LatentPrior.load(path)
    with pytest.raises(OSError, match="prior"):
        LatentPrior.load(tmp_path / "missing" / "prior")


def test_moments_that_are_no_prior_are_refused() -> None:
    covariances = torch.stack([torch.eye(2), torch.zeros(2, 2)])
    for mean, given, message in (
        (torch.zeros(3), covariances, r"`mean` has shape \(3,\)"),
        (
            torch.zeros(2),
            covariances * torch.tensor([[1.0, 0], [0, 0]]),
            r"channels \[1\] of the latents are constant",
        ),
        (torch.tensor([0, torch.nan]), covariances, "NaN or infinite"),
        (torch.zeros(2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]), "of 900 frames do not fill their 2 channels"),
    ):
        with pytest.raises(ValueError, match=message):
            LatentPrior(mean, given, INFO)
    with pytest.raises(ValueError, match=r"`mean` has shape \(3, 5\); give \(2, frames\)"):
        prior().distance(torch.zeros(3, 5))


def test_a_reservoir_holds_each_frame_with_equal_probability_and_its_noise() -> None:
    counts = torch.zeros(60)
    for seed in range(400):
        reservoir = FrameReservoir(20, seed)
        for start, stop in ((0, 5), (5, 50), (50, 60)):
            reservoir.add(torch.arange(float(start), stop)[None], torch.zeros(1, stop - start))
        assert reservoir.frames.shape == (20, 1)
        counts[reservoir.frames[:, 0].long()] += 1
    # 400 draws of probability 1/3: a standard deviation of 9.4.
    assert (counts - 400 / 3).abs().max() < 4 * 9.4
    noisy = FrameReservoir(5000)
    noisy.add(torch.zeros(1, 5000), torch.full((1, 5000), 3.0))
    assert float(noisy.frames.std()) == pytest.approx(3.0, rel=0.05)


def test_a_fitted_mixture_is_that_of_the_data() -> None:
    pytest.importorskip("sklearn")
    generator = torch.Generator().manual_seed(0)
    near = torch.randn(1000, 2, generator=generator)
    far = 0.5 * torch.randn(3000, 2, generator=generator) + torch.tensor([20.0, -20.0])
    fitted = fit_mixture(torch.cat([near, far]), 2)
    order = fitted.weights.argsort()
    torch.testing.assert_close(fitted.weights[order], torch.tensor([0.25, 0.75]), rtol=0, atol=1e-3)
    expected = torch.tensor([[0.0, 0.0], [20.0, -20.0]])
    torch.testing.assert_close(fitted.means[order], expected, rtol=0, atol=0.15)
    variances = fitted.covariances[order].diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(variances, torch.tensor([[1.0, 1.0], [0.25, 0.25]]), rtol=0.15, atol=0)
    assert len(fit_mixture(near[:90], 32).weights) == 2, "40 frames each"
    with pytest.raises(ValueError, match="0 components cannot be fitted"):
        fit_mixture(near, 0)
