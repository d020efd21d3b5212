"""Gaussian noise whose frames lie within a radius."""

import math

import torch
from torch import Tensor

BISECTIONS = 60  # halve the interval of the squared radius to below the resolution of float64
SMALLEST_SHARE = 1e-290  # of the probability within the radius; below, float64 has no digits left


def frame_noise(
    batch: int, frames: int, channels: int, *, generator: torch.Generator | None, truncation: float | None
) -> Tensor:
    """Draw standard normal noise; with a `truncation`, each frame given that its norm is at most a radius.

    The radius is ``truncation * sqrt(channels)``. This is the truncation trick (Brock et al., 2019, arXiv:1809.11096),
    which draws values again until they are in the range, for the norm of a frame instead of for each value. The norm
    does not depend on the choice of axes. The distribution is sampled directly: the direction of Gaussian noise is
    uniform, and its squared norm follows chi-squared, whose distribution function is inverted.

    The norm of most frames is near ``sqrt(channels)``. A truncation above 1 therefore removes outliers only; one below
    1 moves nearly all frames to that radius, as a lower temperature does.

    Args:
        batch (`int`): Number of items.
        frames (`int`): Frames of each.
        channels (`int`): Values of each frame.
        generator (`torch.Generator`, *optional*): Random source.
        truncation (`float`, *optional*): Largest norm of a frame in units of ``sqrt(channels)``.

    Returns:
        float64 `torch.Tensor` of shape `(batch, frames, channels)`.
    """
    noise = torch.randn(batch, frames, channels, generator=generator, dtype=torch.float64)
    if truncation is None:
        return noise
    shares = torch.rand(batch, frames, generator=generator, dtype=torch.float64)
    radii = _truncated_norms(shares, channels, truncation * math.sqrt(channels))
    return noise * (radii / noise.norm(dim=2).clamp_min(1e-300))[:, :, None]


def _truncated_norms(shares: Tensor, channels: int, radius: float) -> Tensor:
    """Invert the distribution function of a norm of at most `radius` at `shares` in [0, 1)."""
    half = torch.tensor(channels / 2, dtype=torch.float64)

    def probability(squares: Tensor) -> Tensor:
        return torch.special.gammainc(half, squares / 2)

    within = probability(torch.tensor(radius**2, dtype=torch.float64))
    if within < SMALLEST_SHARE:  # the density is flat so near 0, so the share is that of the volume
        return radius * shares.pow(1 / channels)
    low, high = torch.zeros_like(shares), torch.full_like(shares, radius**2)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = probability(middle) < shares * within
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return low.sqrt()
