"""Dynamic time warping of latents: which frames of two sounds correspond, and a timing between both."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.latents.alignment import even_positions, frames_at, length_between

MAX_CELLS = 1 << 24  # pairs of frames that are compared, one byte each: all pairs of 4096 frames
DIAGONAL, FIRST, SECOND = range(3)  # which of the two sounds advance in a step of a path


@dataclass(frozen=True)
class Warp:
    """Sounds with corresponding frames, made by `warp`.

    Attributes:
        latents (`tuple[torch.Tensor, ...]`): Latents of each sound, (..., latent_channels, frames).
        path (`torch.Tensor` of shape `(num_sounds, steps)`): Corresponding frames, int64: from the first of all sounds
            to the last of all, each row in steps of 0 or 1.
        cost (`float`): Sum of the distances of corresponding frames, over all pairs of neighbouring sounds.
    """

    latents: tuple[Tensor, ...]
    path: Tensor
    cost: float

    def at(self, weight: float, leg: int = 0) -> tuple[Tensor, Tensor]:
        """Return two neighbouring sounds in a timing between both, for `interpolate` at the same weight.

        If the frames i and j correspond, they are at the time ``(1 - weight) * i + weight * j``. At weight 0 the first
        sound is bit-equal, at weight 1 the second.

        Args:
            weight (`float`): Weight of the second sound, 0 to 1.
            leg (`int`): Index of the first sound.

        Returns:
            Two `torch.Tensor` of shape `(..., latent_channels, frames)`, where ``frames`` is
            ``round((1 - weight) * frames_of_first + weight * frames_of_second)``.

        Raises:
            ValueError: The weight is outside of 0 to 1.
        """
        if not 0 <= weight <= 1:
            raise ValueError(f"`weight` is {weight}; give 0 to 1.")
        pair, path = self.latents[leg : leg + 2], self.path[leg : leg + 2].double()
        times = (1 - weight) * path[0] + weight * path[1]
        frames = round(self.length(pair[0].shape[-1], pair[1].shape[-1], weight))
        first, second = _sampled(times, path, even_positions(float(times[-1]), frames))
        return frames_at(pair[0], first), frames_at(pair[1], second)

    def length(self, first: float, second: float, weight: float) -> float:
        """Return the length between both."""
        return length_between(first, second, weight)

    def moving(self) -> tuple[list[Tensor], Tensor]:
        """Return all sounds in a timing that moves from that of the first sound to that of the last.

        The position moves evenly along the path, from 0 to the index of the last sound. In each step of the path, time
        advances by as much as both neighbouring sounds do, weighted by the position between them.

        Returns:
            The latents, of one length, and the position of each frame, float64 (frames,).
        """
        path = self.path.double()
        position = (len(path) - 1) * path.sum(dim=0) / path[:, -1].sum().clamp(min=1)
        middle = (position[1:] + position[:-1]) / 2
        weights = (1 - (middle - torch.arange(len(path))[:, None]).abs()).clamp(min=0)  # (num_sounds, steps - 1)
        times = torch.cat([torch.zeros(1).double(), (weights * path.diff()).sum(dim=0).cumsum(dim=0)])
        grid = even_positions(float(times[-1]), round(float(times[-1])) + 1)
        *frames, position = _sampled(times, torch.cat([path, position[None]]), grid)
        return [frames_at(latents, at) for latents, at in zip(self.latents, frames, strict=True)], position


def warp(first: Tensor, second: Tensor, *more: Tensor) -> Warp:
    """Find the frames of sounds that correspond, by dynamic time warping (Sakoe and Chiba, 1978).

    The path pairs the first frames and the last frames of both sounds. Each step advances one of them or both by one
    frame. Of all such paths, it has the smallest sum of the Euclidean distances of its pairs. A diagonal step counts
    once and not twice, unlike in the symmetric form of the paper (doi:10.1109/TASSP.1978.1163055): this favours an
    even timing. With `MAX_CELLS` pairs of frames or fewer, all paths are compared. Longer sounds are compared in a
    band around the straight line with `MAX_CELLS` pairs, so that memory does not grow with the product of the lengths.

    Args:
        first (`torch.Tensor` of shape `(..., latent_channels, frames)`): Latents, floating point.
        second (`torch.Tensor` of shape `(..., latent_channels, other_frames)`): Latents.
        more (`torch.Tensor`): Further sounds; each is compared with the one before it.

    Raises:
        ValueError: The shapes differ in more than the length, there are no frames, or values are not finite.

    Example:
        >>> sound = torch.tensor([[0.0, 1.0, 2.0]])
        >>> warping = warp(sound, torch.tensor([[0.0, 0.0, 1.0, 2.0, 2.0]]))
        >>> warping.path.tolist(), warping.cost
        ([[0, 0, 1, 2, 2], [0, 1, 2, 3, 4]], 0.0)
        >>> warping.at(0.0)[0].tolist()
        [[0.0, 1.0, 2.0]]
    """
    sounds = (first, second, *more)
    for one, other in zip(sounds, sounds[1:], strict=False):
        if one.shape[:-1] != other.shape[:-1]:
            raise ValueError(
                f"the latents have shapes {tuple(one.shape)} and {tuple(other.shape)}; the sounds may differ in their "
                f"length only."
            )
    features = [_features(latents) for latents in sounds]
    path, cost = warping_path(*features[:2])
    for neighbours in zip(features[1:], features[2:], strict=False):
        following, added = warping_path(*neighbours)
        path, cost = _joined(path, following), cost + added
    return Warp(sounds, torch.from_numpy(path), cost)


def warping_path(first: np.ndarray, second: np.ndarray, *, max_cells: int = MAX_CELLS) -> tuple[np.ndarray, float]:
    """Return the path of `warp` for two sequences of vectors, (frames, features) each.

    Costs of all cells with the same ``i + j`` depend on those of the two sums before, so they are computed at once.

    Args:
        first (`np.ndarray` of shape `(frames, features)`): Floating point.
        second (`np.ndarray` of shape `(other_frames, features)`): Floating point.
        max_cells (`int`): Pairs to compare at most; a band of three frames is always compared.

    Returns:
        Corresponding indices, int64 (2, steps), and the sum of their distances.
    """
    rows, columns = len(first), len(second)
    reversed_second = second[::-1]
    # Costs by i + 1 of the sums k, k - 1 and k - 2; outside of the band, they are infinite.
    now, last, before = (np.full(rows + 2, np.inf) for _ in range(3))
    steps: list[tuple[int, np.ndarray]] = []
    for k, (low, high) in enumerate(_band(rows, columns, max_cells)):
        start = columns - 1 - k + low
        difference = first[low : high + 1] - reversed_second[start : start + high + 1 - low]
        distance = np.sqrt(np.einsum("ij,ij->i", difference, difference))
        cells = slice(low + 1, high + 2)
        one_less = slice(low, high + 1)
        options = np.stack([before[one_less], last[one_less], last[cells]])  # DIAGONAL, FIRST, SECOND
        step = options.argmin(axis=0).astype(np.uint8)  # the diagonal wins if costs are equal
        now[cells] = distance + (options.min(axis=0) if k else 0)
        now[low] = now[high + 2] = np.inf  # the band moves by at most one
        steps.append((low, step))
        now, last, before = before, now, last
    return _traced(steps, rows - 1), float(last[rows])


def _band(rows: int, columns: int, max_cells: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row `i` of the band for each sum ``i + j``."""
    sums = rows + columns - 1
    half = max(rows, columns) if rows * columns <= max_cells else max(1, (max_cells // sums - 1) // 2)
    for k in range(sums):
        center = k * (rows - 1) / max(sums - 1, 1)
        low = max(0, k - columns + 1, int(np.ceil(center - half)))
        yield low, min(rows - 1, k, int(center + half))


def _traced(steps: Sequence[tuple[int, np.ndarray]], row: int) -> np.ndarray:
    """Follow the steps from the last cell back to the first."""
    k = len(steps) - 1
    path = [(row, k - row)]
    while k > 0:
        low, step = steps[k]
        taken = step[row - low]
        k -= 2 if taken == DIAGONAL else 1
        row -= taken != SECOND
        path.append((row, k - row))
    return np.array(path[::-1], dtype=np.int64).T


def _joined(path: np.ndarray, following: np.ndarray) -> np.ndarray:
    """Append a sound to a path, by the path from its last sound to the new one.

    A frame of the last sound may have several steps in both paths. The shorter run is stretched to the longer one.
    """
    shared, (own, new) = path[-1], following
    counts = np.bincount(shared), np.bincount(own)  # steps by frame; each frame has one or more
    lengths = np.maximum(*counts)
    frame = np.repeat(np.arange(len(lengths)), lengths)
    offset = np.arange(len(frame)) - (lengths.cumsum() - lengths)[frame]
    columns = [(count.cumsum() - count)[frame] + offset * count[frame] // lengths[frame] for count in counts]
    return np.concatenate([path[:, columns[0]], new[None, columns[1]]])


def _features(latents: Tensor) -> np.ndarray:
    """All values of each frame; (..., latent_channels, frames) -> (frames, features)."""
    if latents.ndim < 2 or not latents.numel() or not bool(torch.isfinite(latents).all()):
        raise ValueError(
            f"the latents have shape {tuple(latents.shape)}; give finite (..., latent_channels, frames), with one "
            f"frame or more."
        )
    return latents.detach().flatten(0, -2).T.contiguous().float().cpu().numpy()


def _sampled(times: Tensor, values: Tensor, grid: Tensor) -> list[Tensor]:
    """Interpolate rows of values, (rows, steps), from their times, (steps,), at other times; exact at both ends."""
    sampled = np.stack([np.interp(grid.numpy(), times.numpy(), row.numpy()) for row in values])
    sampled[:, -1] = values[:, -1]
    sampled[:, 0] = values[:, 0]
    return list(torch.from_numpy(sampled))
