"""Latents of two lengths brought to one: stretched, or repeated."""

import torch
from torch import Tensor

CROSSFADE = 2  # frames


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
    """Repeat latents up to a length; longer latents are cut.

    The period is exactly the length of the latents, so a loop keeps its tempo, and the first round is bit-equal. At
    each seam, the frames at the start of the new round fade from the last frame of the round before it: the jump is
    distributed over ``crossfade + 1`` steps.

    Args:
        latents (`torch.Tensor` of shape `(..., latent_channels, time)`): Latents, floating point, time >= 1.
        frames (`int`): New length.
        crossfade (`int`): Faded frames after each seam, less than half of a round; 0 for none.

    Returns:
        `torch.Tensor` of shape `(..., latent_channels, frames)`.

    Raises:
        ValueError: There are no frames, or `crossfade` is negative.

    Example:
        >>> loop(torch.tensor([[0.0, 1.0, 2.0, 3.0]]), 10, crossfade=1).tolist()
        [[0.0, 1.0, 2.0, 3.0, 1.5, 1.0, 2.0, 3.0, 1.5, 1.0]]
    """
    _check_frames(latents, frames)
    if crossfade < 0:
        raise ValueError(f"`crossfade` is {crossfade}; give a number of frames, or 0 for none.")
    time = latents.shape[-1]
    crossfade = min(crossfade, (time - 1) // 2)  # a round keeps frames of its own
    weights = torch.arange(1, crossfade + 1, device=latents.device).to(latents.dtype) / (crossfade + 1)
    seam = torch.lerp(latents[..., -1:].expand(*latents.shape[:-1], crossfade), latents[..., :crossfade], weights)
    later = torch.cat([seam, latents[..., crossfade:]], dim=-1)
    rounds = (frames + time - 1) // time
    return torch.cat([latents, *[later] * (rounds - 1)], dim=-1)[..., :frames]


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
