"""Latents of two lengths brought to one: stretched, or repeated."""

import torch
from torch import Tensor

CROSSFADE = 2  # frames on each side of a seam


def stretch(latents: Tensor, frames: int) -> Tensor:
    """Stretch or compress latents over time by linear interpolation between their frames.

    The first frame stays the first, the last stays the last, and those in between are at even distances. At the same
    length, the result is bit-equal. Compressed latents are not smoothed first.

    Args:
        latents (`torch.Tensor` of shape `(..., latent_channels, time)`): Latents, floating point, time >= 1.
        frames (`int`): New length. One frame is the first one.

    Returns:
        `torch.Tensor` of shape `(..., latent_channels, frames)`.

    Raises:
        ValueError: There are no frames.

    Example:
        >>> stretch(torch.tensor([[0.0, 4.0, 6.0]]), 5).tolist()
        [[0.0, 2.0, 4.0, 5.0, 6.0]]
    """
    _check_frames(latents, frames)
    return frames_at(latents, even_positions(latents.shape[-1] - 1, frames))


def loop(latents: Tensor, frames: int, *, crossfade: int = CROSSFADE) -> Tensor:
    """Repeat latents up to a length, with a cross-fade at each seam; longer latents are cut.

    The period is exactly the length of the latents, so that a loop keeps its tempo. At a seam, both rounds continue as
    their mirror images, and the earlier one fades into the later one. All other frames are bit-equal.

    Args:
        latents (`torch.Tensor` of shape `(..., latent_channels, time)`): Latents, floating point, time >= 1.
        frames (`int`): New length.
        crossfade (`int`): Frames on each side of a seam that are faded, at most half of a round; 0 for none.

    Returns:
        `torch.Tensor` of shape `(..., latent_channels, frames)`.

    Raises:
        ValueError: There are no frames, or `crossfade` is negative.

    Example:
        >>> loop(torch.tensor([[0.0, 3.0, 6.0, 9.0]]), 8, crossfade=1).round().tolist()
        [[0.0, 3.0, 6.0, 6.0, 3.0, 3.0, 6.0, 9.0]]
    """
    _check_frames(latents, frames)
    if crossfade < 0:
        raise ValueError(f"`crossfade` is {crossfade}; give a number of frames, or 0 for none.")
    time = latents.shape[-1]
    rounds, width = (frames + time - 1) // time, min(crossfade, time // 2)
    start, middle, end = latents.split([width, time - 2 * width, width], dim=-1)
    weights = torch.arange(1, 2 * width + 1, device=latents.device).to(latents.dtype) / (2 * width + 1)
    earlier, later = torch.cat([end, end.flip(-1)], dim=-1), torch.cat([start.flip(-1), start], dim=-1)
    seam = torch.lerp(earlier, later, weights)
    return torch.cat([start, middle, *[seam, middle] * (rounds - 1), end], dim=-1)[..., :frames]


def length_between(first: float, second: float, weight: float) -> float:
    """Return the length between two lengths, at the weight of the second."""
    return (1 - weight) * first + weight * second


def even_positions(last: float, frames: int) -> Tensor:
    """Return positions from 0 to `last` at even distances, float64 (frames,); exact at whole numbers."""
    return torch.arange(frames, dtype=torch.float64) * last / max(frames - 1, 1)


def frames_at(latents: Tensor, positions: Tensor) -> Tensor:
    """Interpolate linearly between frames, at whole positions bit-equal to a frame.

    Args:
        latents (`torch.Tensor` of shape `(..., latent_channels, time)`): Latents, floating point.
        positions (`torch.Tensor` of shape `(frames,)`): Positions from 0 to time - 1.

    Returns:
        `torch.Tensor` of shape `(..., latent_channels, frames)`.
    """
    positions = positions.to(latents.device)
    before = positions.floor().long()
    after = (before + 1).clamp(max=latents.shape[-1] - 1)
    shares = (positions - before).to(latents.dtype)
    left = latents[..., before]
    return torch.where(shares == 0, left, torch.lerp(left, latents[..., after], shares))


def _check_frames(latents: Tensor, frames: int) -> None:
    if latents.ndim < 2 or not latents.numel() or not latents.is_floating_point():
        raise ValueError(
            f"the latents are {latents.dtype} of shape {tuple(latents.shape)}; give floating-point (..., "
            f"latent_channels, frames), with one frame or more."
        )
    if frames < 1:
        raise ValueError(f"`frames` is {frames}; give 1 or more.")
