"""Clips of any length as vectors of one length, which can be compared."""

import torch
from torch import Tensor

CONSTANT = 1e-6  # deviation of a constant dimension, relative to its largest value: rounding in float32


def clip_vector(latents: Tensor) -> Tensor:
    """Return mean and standard deviation of each channel over the frames of a clip, one after the other.

    The mean says what the clip contains, the standard deviation how much it changes. The order of the frames is lost.

    Args:
        latents (`torch.Tensor` of shape `(..., latent_channels, frames)`): Latents, such as the mode of a posterior.

    Returns:
        float64 `torch.Tensor` of shape `(..., 2 * latent_channels)`: Means, then standard deviations, which divide by
        the number of frames: 0 for a single frame.

    Raises:
        ValueError: There are no frames or channels, or values that are not finite.

    Example:
        >>> clip_vector(torch.tensor([[1.0, 3.0], [5.0, 5.0]])).tolist()
        [2.0, 5.0, 1.0, 0.0]
    """
    if latents.ndim < 2 or not latents.numel():
        raise ValueError(f"`latents` has shape {tuple(latents.shape)}; give (..., latent_channels, frames).")
    values = latents.detach().double()
    if not bool(values.isfinite().all()):
        raise ValueError("`latents` has NaN or infinite values; leave this clip out.")
    return torch.cat([values.mean(dim=-1), values.std(dim=-1, correction=0)], dim=-1)


def standardized(vectors: Tensor) -> Tensor:
    """Subtract the mean of each dimension over a set, and divide by its standard deviation over the set.

    Every dimension then counts equally in distances, whatever its scale. A dimension that is constant over the set
    tells no clips apart, and becomes 0.

    Args:
        vectors (`torch.Tensor` of shape `(clips, dimensions)`): From `clip_vector`.

    Returns:
        float64 `torch.Tensor`, same shape.

    Raises:
        ValueError: The shape is another one, or there are values that are not finite.

    Example:
        >>> standardized(torch.tensor([[1.0, 7.0], [3.0, 7.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    check_vectors(vectors)
    values = vectors.detach().double()
    offsets = values - values.mean(dim=0)
    std = offsets.square().mean(dim=0).sqrt()
    constant = std <= CONSTANT * values.abs().amax(dim=0)
    return torch.where(constant, 0.0, offsets / torch.where(constant, 1.0, std))


def check_vectors(vectors: Tensor) -> None:
    """Raise `ValueError` unless vectors are finite, (clips, dimensions)."""
    if vectors.ndim != 2 or not vectors.numel():
        raise ValueError(f"`vectors` has shape {tuple(vectors.shape)}; give (clips, dimensions), one or more of each.")
    if not bool(vectors.isfinite().all()):
        raise ValueError("`vectors` has NaN or infinite values; leave these clips out.")
