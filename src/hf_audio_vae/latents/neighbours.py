"""The nearest vectors of each vector."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.latents.clip_vectors import check_vectors

BLOCK = 1 << 24  # coordinate differences that are held at once


@dataclass(frozen=True)
class Neighbours:
    """The nearest others of each vector of a set, the nearest first.

    Args:
        indices (`torch.Tensor` of shape `(clips, count)`): int64, numbers of the neighbours.
        distances (`torch.Tensor` of shape `(clips, count)`): float64, Euclidean distances.
    """

    indices: Tensor
    distances: Tensor


def nearest_neighbours(vectors: Tensor, count: int) -> Neighbours:
    """Find the nearest others of each vector by Euclidean distance, exactly; of equal distances, the first.

    Each pair is compared: time grows with the square of the number of vectors, memory does not.

    Args:
        vectors (`torch.Tensor` of shape `(clips, dimensions)`): Such as those of `standardized`.
        count (`int`): Number of neighbours, 1 to `clips - 1`.

    Raises:
        ValueError: The count is out of range, the shape is another one, or there are values that are not finite.

    Example:
        >>> found = nearest_neighbours(torch.tensor([[0.0], [1.0], [5.0]]), 2)
        >>> found.indices.tolist(), found.distances.tolist()
        ([[1, 2], [0, 2], [1, 0]], [[1.0, 5.0], [1.0, 4.0], [4.0, 5.0]])
    """
    check_vectors(vectors)
    clips, dimensions = vectors.shape
    if not 1 <= count < clips:
        raise ValueError(f"`count` is {count}; {clips} vectors have 1 to {clips - 1} neighbours each.")
    values = vectors.detach().cpu().double()
    rows = max(1, BLOCK // (clips * dimensions))
    found = [_nearest(values, start, min(start + rows, clips), count) for start in range(0, clips, rows)]
    return Neighbours(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _nearest(values: Tensor, start: int, stop: int, count: int) -> tuple[Tensor, Tensor]:
    """Return indices and distances of the neighbours of some vectors, (stop - start, count) each."""
    # Differences: a matrix product would cancel digits of small distances.
    distances = torch.cdist(values[start:stop], values, compute_mode="donot_use_mm_for_euclid_dist")
    own = torch.arange(start, stop)
    distances[own - start, own] = torch.inf
    nearest, indices = distances.sort(dim=1, stable=True)
    return indices[:, :count].contiguous(), nearest[:, :count].contiguous()
