"""Interpolation between latents of one length."""

import math

import pytest
import torch

from hf_audio_vae.latents import interpolate, latents_path
from hf_audio_vae.latents.interpolation import METHODS, path_steps


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_ends_are_bit_equal(method: str, dtype: torch.dtype) -> None:
    first, second = random(2, 5, 7).to(dtype), random(2, 5, 7, seed=1).to(dtype)
    assert torch.equal(interpolate(first, second, 0, method=method), first)
    assert torch.equal(interpolate(first, second, 1.0, method=method), second)
    weights = torch.linspace(0, 1, 7)
    moving = interpolate(first, second, weights, method=method)
    assert moving.dtype == dtype
    assert torch.equal(moving[..., 0], first[..., 0])
    assert torch.equal(moving[..., -1], second[..., -1])


@pytest.mark.parametrize("method", METHODS)
def test_ends_whose_difference_overflows_are_bit_equal(method: str) -> None:
    first, second = torch.full((2, 1), 3e38), torch.full((2, 1), -3e38)
    assert torch.equal(interpolate(first, second, 0.0, method=method), first)
    assert torch.equal(interpolate(first, second, 1.0, method=method), second)


@pytest.mark.parametrize("method", METHODS)
def test_the_way_back_is_the_way(method: str) -> None:
    first, second = random(4, 9), random(4, 9, seed=1)
    there = interpolate(first, second, 0.3, method=method)
    torch.testing.assert_close(there, interpolate(second, first, 0.7, method=method), rtol=1e-5, atol=1e-6)


def test_linear_interpolation_of_two_tones_is_their_mixture() -> None:
    # Each tone is the value of one channel; the latents of the mixture have both.
    low, high = torch.tensor([[2.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [4.0, 4.0]])
    assert interpolate(low, high, 0.25).tolist() == [[1.5, 1.5], [1.0, 1.0]]


def test_spherical_interpolation_turns_evenly_and_keeps_the_norm_between() -> None:
    angles = torch.linspace(0.2, 1.9, 11)
    turned = torch.stack([angles.cos(), angles.sin()])  # (2, 11), frames at even angles
    first, second = turned[:, :1].expand(2, 11), 3 * turned[:, -1:].expand(2, 11)
    weights = torch.linspace(0, 1, 11)
    expected = turned * (1 + 2 * weights)
    torch.testing.assert_close(interpolate(first, second, weights, method="spherical"), expected, rtol=1e-6, atol=1e-6)


def test_spherical_interpolation_is_that_of_the_angle_by_arccos() -> None:
    first, second = random(16, 5).double(), random(16, 5, seed=1).double()
    norms = first.norm(dim=0), second.norm(dim=0)
    angle = torch.acos((first * second).sum(dim=0) / norms[0] / norms[1])
    direction = (torch.sin(0.8 * angle) * first / norms[0] + torch.sin(0.2 * angle) * second / norms[1]) / angle.sin()
    expected = direction * (0.8 * norms[0] + 0.2 * norms[1])
    torch.testing.assert_close(interpolate(first, second, 0.2, method="spherical"), expected)


@pytest.mark.parametrize("factor", [2.0, -0.5, 0.0, 1 + 1e-7])
def test_vectors_in_line_and_zeros_are_interpolated_linearly(factor: float) -> None:
    first = random(8, 6)
    second = factor * first
    torch.testing.assert_close(interpolate(first, second, 0.4, method="spherical"), 0.6 * first + 0.4 * second)
    zeros = interpolate(torch.zeros(8, 6), torch.zeros(8, 6), 0.4, method="spherical")
    assert torch.equal(zeros, torch.zeros(8, 6))


def test_small_angles_are_as_precise_as_large_ones() -> None:
    first = torch.tensor([[1.0], [0.0]])
    for angle in (1e-1, 1e-2, 1e-3, 1e-4):
        second = torch.tensor([[math.cos(angle)], [math.sin(angle)]])
        turned = interpolate(first, second, 0.5, method="spherical")
        assert turned[1].item() == pytest.approx(math.sin(angle / 2), rel=1e-5)


def test_a_path_meets_every_point_exactly() -> None:
    points = [random(3, 4, seed=seed) for seed in range(4)]
    for method in METHODS:
        path = latents_path(points, 10, method=method)
        assert path.shape == (10, 3, 4)
        assert all(torch.equal(path[3 * index], point) for index, point in enumerate(points))
    torch.testing.assert_close(latents_path(points, 10)[4], points[1] + (points[2] - points[1]) / 3)


@pytest.mark.parametrize("steps", range(2, 60))
def test_steps_are_even_and_exact_at_points(steps: int) -> None:
    for num_points in (2, 3, 8):
        found = path_steps(num_points, steps)
        assert found[0] == (0, 0.0)
        assert found[-1] == (num_points - 2, 1.0)
        assert [leg + weight for leg, weight in found] == pytest.approx(
            [step * (num_points - 1) / (steps - 1) for step in range(steps)]
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 4), 0.5), r"\(2, 3\) and \(2, 4\); .* one length with `stretch`"),
        ((torch.zeros(3), torch.zeros(3), 0.5), r"give \(\.\.\., latent_channels, frames\)"),
        ((torch.zeros(2, 3).long(), torch.zeros(2, 3).long(), 0.5), "int64 .* Codes have no values in between"),
        ((torch.zeros(2, 3), torch.zeros(2, 3).double(), 0.5), "float32 and torch.float64"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), 1.1), r"`weight` is 1\.1"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), float("nan")), "`weight` is nan"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 1)), r"shape \(2, 1\); .* broadcasts to \(1, 3\)"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(4)), r"shape \(4,\)"),
        ((torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(5, 1, 3)), r"shape \(5, 1, 3\)"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        interpolate(*arguments)


def test_a_wrong_method_or_path_is_refused() -> None:
    points = [torch.zeros(1, 1)] * 2
    with pytest.raises(ValueError, match=r"no method 'cubic'; choose from linear, spherical"):
        interpolate(*points, 0.5, method="cubic")
    with pytest.raises(ValueError, match="there are 1 points; a path needs 2"):
        latents_path(points[:1], 3)
    with pytest.raises(ValueError, match="`steps` is 1; give 2 or more"):
        latents_path(points, 1)
