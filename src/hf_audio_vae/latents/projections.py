"""Projections of vectors onto a plane."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.latents.clip_vectors import check_vectors
from hf_audio_vae.latents.principal_axes import PrincipalAxes

UMAP_NEIGHBOURS = 15


@dataclass(frozen=True)
class Projection:
    """A plane with a point for each vector.

    Args:
        coordinates (`torch.Tensor` of shape `(clips, 2)`): float64.
        shares (`tuple[float, float]`, *optional*): Share of the variance along each axis, if the axes have one.
        labels (`tuple[str, str]`): Names of the axes.
    """

    coordinates: Tensor
    labels: tuple[str, str]
    shares: tuple[float, float] | None = None


def pca_projection(vectors: Tensor) -> Projection:
    """Project vectors onto their first two principal axes; see `PrincipalAxes.fit`.

    Args:
        vectors (`torch.Tensor` of shape `(clips, dimensions)`): Such as those of `standardized`, two or more clips.

    Raises:
        ValueError: There are fewer than two clips or dimensions, or values that are not finite.
    """
    _check_plane(vectors)
    axes = PrincipalAxes.fit(vectors)
    first, second = axes.shares[:2].tolist()
    labels = (f"axis 1, {first:.1%} of the variance", f"axis 2, {second:.1%} of the variance")
    return Projection(axes.project(vectors)[:, :2], labels, (first, second))


def umap_projection(vectors: Tensor, *, seed: int = 0) -> Projection:
    """Lay out vectors so that neighbours stay neighbours (UMAP: McInnes et al., 2018, arXiv:1802.03426).

    Distances within a group are those of neighbours; distances between groups mean little. The layout starts from
    the principal axes, which keep the order of the groups (Kobak & Linderman, 2021, doi:10.1038/s41587-020-00809-z).

    Args:
        vectors (`torch.Tensor` of shape `(clips, dimensions)`): Such as those of `standardized`, three or more clips.
        seed (`int`): Seed of the layout. One seed gives one result on one machine.

    Raises:
        ValueError: There are fewer than three clips or two dimensions, all clips are equal, or there are values that
            are not finite.
        ModuleNotFoundError: umap-learn is missing (extra `umap`).
    """
    _check_plane(vectors)
    if len(vectors) < 3:
        raise ValueError(f"`vectors` has {len(vectors)} clips; UMAP needs three or more, PCA two.")
    start = pca_projection(vectors).coordinates
    if not bool(start.any()):
        raise ValueError(f"all {len(vectors)} vectors are equal, so UMAP has nothing to lay out; give other clips.")
    from umap import UMAP

    layout = UMAP(
        n_neighbors=min(UMAP_NEIGHBOURS, len(vectors) - 1),
        init=start.numpy().astype(np.float32),
        random_state=seed,
        n_jobs=1,  # of several, the order of additions differs
    )
    coordinates = layout.fit_transform(vectors.detach().cpu().double().numpy())
    return Projection(torch.from_numpy(coordinates).double(), ("UMAP 1", "UMAP 2"))


PROJECTIONS: dict[str, Callable[[Tensor], Projection]] = {"pca": pca_projection, "umap": umap_projection}


def _check_plane(vectors: Tensor) -> None:
    check_vectors(vectors)
    if min(vectors.shape) < 2:
        raise ValueError(f"`vectors` has shape {tuple(vectors.shape)}; a plane needs two clips and two dimensions.")
