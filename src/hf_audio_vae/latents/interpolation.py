"""Interpolation between latents of one length, frame by frame."""

from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor, linalg


def interpolate(first: Tensor, second: Tensor, weight: float | Tensor, *, method: str = "linear") -> Tensor:
    """Interpolate between two latents; at weight 0 the result is bit-equal to `first`, at weight 1 to `second`.

    `"linear"` is ``(1 - weight) * first + weight * second``. `"spherical"` turns the vector of each frame around 0 at
    a constant angular speed (Shoemake, 1985, doi:10.1145/325334.325242), and interpolates its norm linearly. Halfway
    between two orthogonal vectors of one norm, the norm of the linear result is smaller by the factor √2, and that of
    the spherical one is the same. Frames whose vectors are parallel, opposite or zero are interpolated linearly.

    Args:
        first (`torch.Tensor` of shape `(..., latent_channels, frames)`): Latents, floating point.
        second (`torch.Tensor`, same shape): Latents.
        weight (`float` or `torch.Tensor`): Weight of `second`, from 0 to 1. A tensor broadcasts to the shape of the
            latents with one channel, e.g. `(frames,)` or `(batch, 1, frames)`.
        method (`str`): One of `METHODS`.

    Returns:
        `torch.Tensor`, same shape and dtype.

    Raises:
        ValueError: The shapes or dtypes differ, a weight is outside of 0 to 1, or there is no such method.

    Example:
        >>> first, second = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [3.0]])
        >>> interpolate(first, second, 0.5).flatten().tolist()
        [0.5, 1.5]
        >>> round(interpolate(first, second, 0.5, method="spherical").norm().item(), 6)
        2.0
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}; choose from {', '.join(METHODS)}.")
    _check_latents(first, second)
    weights = torch.as_tensor(weight, device=first.device).to(torch.promote_types(first.dtype, torch.float32))
    _check_weights(weights, first)
    between = METHODS[method](first.to(weights.dtype), second.to(weights.dtype), weights).to(first.dtype)
    # Exact also where the difference of the two overflows, and for spherical interpolation.
    return torch.where(weights == 0, first, torch.where(weights == 1, second, between))


def latents_path(points: Sequence[Tensor], steps: int, *, method: str = "linear") -> Tensor:
    """Return latents at even steps of the path through several points, both ends included.

    Each leg, from one point to the next, is an equal share of the path.

    Args:
        points (`Sequence[torch.Tensor]` of shape `(..., latent_channels, frames)`): Two points or more, of one shape.
        steps (`int`): Number of latents, 2 or more.
        method (`str`): See `interpolate`.

    Returns:
        `torch.Tensor` of shape `(steps, ..., latent_channels, frames)`: The first and the last are bit-equal to those
        of the points.

    Raises:
        ValueError: See `interpolate`; or there are fewer than two points or steps.

    Example:
        >>> points = [torch.full((1, 1), value) for value in (0.0, 1.0, 5.0)]
        >>> latents_path(points, 5).flatten().tolist()
        [0.0, 0.5, 1.0, 3.0, 5.0]
    """
    legs = path_steps(len(points), steps)
    return torch.stack([interpolate(points[leg], points[leg + 1], weight, method=method) for leg, weight in legs])


def path_steps(num_points: int, steps: int) -> list[tuple[int, float]]:
    """Return the leg of each step of an even path through points, and the weight of the leg's second point.

    Weights of steps that fall on a point are exactly 0 or 1.

    Args:
        num_points (`int`): Number of points, 2 or more.
        steps (`int`): Number of steps with both ends, 2 or more.

    Raises:
        ValueError: A number is less than 2.

    Example:
        >>> path_steps(3, 4)
        [(0, 0.0), (0, 0.6666666666666666), (1, 0.3333333333333333), (1, 1.0)]
    """
    if num_points < 2:
        raise ValueError(f"there are {num_points} points; a path needs 2 or more.")
    if steps < 2:
        raise ValueError(f"`steps` is {steps}; give 2 or more, to include both ends.")
    found = []
    for step in range(steps):
        position = Fraction(step * (num_points - 1), steps - 1)
        leg = min(int(position), num_points - 2)
        found.append((leg, float(position - leg)))
    return found


def _linear(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    return torch.lerp(first, second, weights)


def _spherical(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    first_norm, second_norm = (linalg.vector_norm(latents, dim=-2, keepdim=True) for latents in (first, second))
    tiny = torch.finfo(first.dtype).tiny
    a, b = first / first_norm.clamp(min=tiny), second / second_norm.clamp(min=tiny)
    # Half the angle by its sine and cosine: an arccos of the product would lose half of the digits of small angles.
    angle = 2 * torch.atan2(
        linalg.vector_norm(a - b, dim=-2, keepdim=True), linalg.vector_norm(a + b, dim=-2, keepdim=True)
    )
    sine = angle.sin()
    turned = (((1 - weights) * angle).sin() * a + (weights * angle).sin() * b) / sine.clamp(min=tiny)
    # Below this sine, parallel vectors differ from linear interpolation by less than the precision, and the plane of
    # opposite ones is undetermined.
    in_line = (sine < torch.finfo(first.dtype).eps ** 0.5) | (torch.minimum(first_norm, second_norm) <= tiny)
    norm = torch.lerp(first_norm, second_norm, weights)
    return torch.where(in_line, torch.lerp(first, second, weights), turned * norm)


METHODS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"linear": _linear, "spherical": _spherical}


def _check_latents(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape or first.ndim < 2:
        raise ValueError(
            f"the latents have shapes {tuple(first.shape)} and {tuple(second.shape)}; give (..., latent_channels, "
            f"frames), and bring them to one length with `stretch`, `loop` or `warp`."
        )
    if first.dtype != second.dtype or not first.is_floating_point():
        raise ValueError(
            f"the latents have dtypes {first.dtype} and {second.dtype}; give one floating-point dtype. Codes have no "
            f"values in between."
        )


def _check_weights(weights: Tensor, latents: Tensor) -> None:
    if not bool(((weights >= 0) & (weights <= 1)).all()):  # also refuses NaN
        raise ValueError(f"`weight` is {weights.tolist()}; give 0 to 1.")
    allowed = (*latents.shape[:-2], 1, latents.shape[-1])
    try:
        fits = torch.broadcast_shapes(weights.shape, allowed) == allowed
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"`weight` has shape {tuple(weights.shape)}; give a number, or a tensor that broadcasts to {allowed}, one "
            f"weight for all channels of a frame."
        )
