"""Projections of vectors onto a plane."""

import pytest
import torch
from torch import Tensor

from hf_audio_vae.latents import PROJECTIONS, PrincipalAxes, pca_projection, umap_projection


def groups(dimensions: int = 8, each: int = 20) -> Tensor:
    """Three groups with distances of 50 standard deviations."""
    noise = torch.randn(3, each, dimensions, generator=torch.Generator().manual_seed(0))
    return (noise + 50 * torch.eye(3, dimensions)[:, None]).flatten(0, 1)


def test_the_plane_of_pca_has_the_first_two_axes_and_their_shares() -> None:
    vectors = groups()
    axes, projection = PrincipalAxes.fit(vectors), pca_projection(vectors)
    torch.testing.assert_close(projection.coordinates, axes.project(vectors)[:, :2])
    assert projection.shares == tuple(axes.shares[:2].tolist())
    first, second = (f"{100 * share:.1f}%" for share in projection.shares)
    assert projection.labels == (f"axis 1, {first} of the variance", f"axis 2, {second} of the variance")


@pytest.mark.parametrize("name", ["pca", pytest.param("umap", marks=pytest.mark.slow)])
def test_groups_that_are_far_apart_stay_apart_and_a_second_call_gives_the_same(name: str) -> None:
    if name == "umap":
        pytest.importorskip("umap")
    projection = PROJECTIONS[name](groups())
    assert projection.coordinates.shape == (60, 2) and projection.coordinates.dtype == torch.float64
    parts = projection.coordinates.unflatten(0, (3, 20))
    centres = parts.mean(dim=1)
    radius = (parts - centres[:, None]).norm(dim=-1).max()
    assert torch.pdist(centres).min() > 2 * radius
    assert torch.equal(PROJECTIONS[name](groups()).coordinates, projection.coordinates)


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5, 17])
def test_umap_lays_out_few_clips(count: int) -> None:
    pytest.importorskip("umap")
    projection = umap_projection(groups()[:: 60 // count][:count])
    assert projection.coordinates.shape == (count, 2) and projection.coordinates.isfinite().all()
    assert projection.shares is None


def test_what_makes_no_plane_is_refused() -> None:
    for project in PROJECTIONS.values():
        for shape in ((1, 4), (4, 1)):
            with pytest.raises(ValueError, match="a plane needs two clips and two dimensions"):
                project(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    with pytest.raises(ValueError, match="2 clips; UMAP needs three or more"):
        umap_projection(torch.eye(2))
    with pytest.raises(ValueError, match="all 5 vectors are equal"):
        umap_projection(torch.ones(5, 3))
    assert pca_projection(torch.ones(5, 3)).coordinates.tolist() == [[0.0, 0.0]] * 5
