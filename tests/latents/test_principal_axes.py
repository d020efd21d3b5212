"""Principal axes of points whose axes are known."""

import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.latents import FrameMoments, PrincipalAxes

RANDOM = torch.Generator().manual_seed(0)
MEAN = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
STD = torch.tensor([5.0, 2.0, 0.1], dtype=torch.float64)


def rotation() -> Tensor:
    return torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q


def points(count: int = 400) -> Tensor:
    """Points with exactly the deviations `STD` along the rows of `rotation` around `MEAN`."""
    values = torch.randn(count, 3, generator=RANDOM, dtype=torch.float64)
    white = torch.linalg.qr(values - values.mean(dim=0)).Q * math.sqrt(count)
    return white * STD @ rotation() + MEAN


def test_points_on_a_line_have_one_axis_and_keep_their_distances() -> None:
    steps = torch.tensor([-3.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    line = steps[:, None] * torch.tensor([0.6, 0.8], dtype=torch.float64) + torch.tensor([10.0, 20.0])
    axes = PrincipalAxes.fit(line)
    torch.testing.assert_close(axes.directions[0], torch.tensor([0.6, 0.8], dtype=torch.float64))
    torch.testing.assert_close(axes.shares, torch.tensor([1.0, 0.0]).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(axes.variances[0], steps.var(correction=0))
    torch.testing.assert_close(axes.project(line)[:, 0], steps)


def test_the_axes_are_those_that_the_points_were_made_with() -> None:
    axes = PrincipalAxes.fit(points())
    torch.testing.assert_close(axes.mean, MEAN)
    torch.testing.assert_close(axes.variances, STD.square())
    torch.testing.assert_close((axes.directions @ rotation().T).abs(), torch.eye(3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(axes.shares, STD.square() / STD.square().sum())


def test_a_covariance_has_the_axes_of_its_points() -> None:
    values = points()
    moments = FrameMoments(0)
    moments.add(values.T, torch.zeros(3, len(values)))
    of_points, of_moments = (
        PrincipalAxes.fit(values),
        PrincipalAxes.of_covariance(moments.mean, moments.covariances[0]),
    )
    for name in ("mean", "directions", "variances"):
        torch.testing.assert_close(getattr(of_moments, name), getattr(of_points, name), atol=1e-9, rtol=1e-9)


def test_signs_do_not_depend_on_rounding_or_the_order_of_the_points() -> None:
    diagonal = torch.tensor([[-1.0, 1.0], [1.0, -1.0], [2.0, -2.0]])  # two coordinates of one size
    expected = torch.tensor([1.0, -1.0], dtype=torch.float64) / math.sqrt(2)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        for scale in (1.0, 1 / 3, -7.7):
            first = PrincipalAxes.fit(scale * diagonal[order]).directions[0]
            torch.testing.assert_close(first, expected)


def test_fewer_points_than_dimensions_have_as_many_axes_as_points() -> None:
    values = torch.randn(4, 50, generator=RANDOM)
    axes = PrincipalAxes.fit(values)
    assert axes.directions.shape == (4, 50)
    projected = axes.project(values)
    torch.testing.assert_close(torch.cdist(projected, projected), torch.cdist(values.double(), values.double()))
    assert float(axes.shares.sum()) == pytest.approx(1)


def test_points_without_variance_have_shares_of_zero() -> None:
    axes = PrincipalAxes.fit(torch.ones(5, 3))
    assert axes.shares.tolist() == [0.0] * 3
    assert axes.measure(torch.ones(3, 2)).tolist() == [[0.0] * 2] * 3


def test_a_move_changes_one_coordinate_by_its_amount() -> None:
    axes = PrincipalAxes.fit(points())
    latents = torch.randn(2, 3, 7, generator=RANDOM, dtype=torch.float64)
    ramp = torch.linspace(-2, 2, 7, dtype=torch.float64)
    for amount in (1.5, ramp):
        moved = axes.measure(axes.move(latents, 1, amount)) - axes.measure(latents)
        torch.testing.assert_close(moved[:, 1], torch.as_tensor(amount).double().expand(2, 7))
        torch.testing.assert_close(moved[:, [0, 2]], torch.zeros(2, 2, 7).double(), atol=1e-9, rtol=0)
    # One deviation is that of the data.
    assert float((axes.move(latents, 0, 1.0) - latents).norm(dim=1).mean()) == pytest.approx(5)
    assert axes.move(latents.float(), 0, 1.0).dtype == torch.float32


def test_frames_of_the_data_have_deviations_of_1() -> None:
    values = points()
    measured = PrincipalAxes.fit(values).measure(values.T)
    torch.testing.assert_close(measured.mean(dim=1), torch.zeros(3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(measured.std(dim=1, correction=0), torch.ones(3).double())


def test_what_does_not_fit_is_refused() -> None:
    axes = PrincipalAxes.fit(points())
    with pytest.raises(ValueError, match="there are axes 0 to 2"):
        axes.move(torch.zeros(3, 5), 3, 1.0)
    with pytest.raises(ValueError, match="`axis` is -1"):
        axes.move(torch.zeros(3, 5), -1, 1.0)
    for wrong in (torch.zeros(4, 5), torch.zeros(3)):
        with pytest.raises(ValueError, match="those of 3 channels"):
            axes.move(wrong, 0, 1.0)
    with pytest.raises(ValueError, match=r"those of \(\.\.\., 3\)"):
        axes.project(torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"give \(channels,\) and \(channels, channels\)"):
        PrincipalAxes.of_covariance(torch.zeros(3), torch.eye(2))
    with pytest.raises(ValueError, match="measure them again"):
        PrincipalAxes.of_covariance(torch.zeros(1), torch.tensor([[torch.nan]]))
