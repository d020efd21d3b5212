"""Gradient estimators for quantization, which has no gradient itself."""

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_SCALE = 1000.0  # norm of a code over norm of a vector; beyond, the vector's direction is not meaningful


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """Return exactly `quantized`; the gradient passes to `x` unchanged (van den Oord et al., 2017)."""
    return quantized.detach().to(x.dtype) + (x - x.detach())


def rotate_through(x: Tensor, quantized: Tensor) -> Tensor:
    """Return exactly `quantized`, with the gradient of the rotation and scaling that maps `x` to it.

    Fifty et al., 2024 (arXiv:2410.06424), eq. 4: ``q = λ R x`` with ``R = I - 2 r rᵀ + 2 q̂ x̂ᵀ``, ``r`` the unit
    vector between the directions ``x̂`` and ``q̂``, ``λ = |q| / |x|``; R and λ are constants for the gradient. The
    gradient depends on the position of `x` in its cell and keeps its angle to the code. If `x` is almost zero, it has
    no direction and the gradient passes straight through.

    Args:
        x (`torch.Tensor` of shape `(batch, dim, frames)`): Vectors before quantization.
        quantized (`torch.Tensor`, same shape): The codes' vectors.
    """
    source, target = x.detach(), quantized.detach().to(x.dtype)
    length, target_length = (v.norm(dim=1, keepdim=True) for v in (source, target))
    direction, target_direction = F.normalize(source, dim=1), F.normalize(target, dim=1)
    bisector = F.normalize(direction + target_direction, dim=1)
    rotated = (
        x
        - 2 * bisector * (bisector * x).sum(dim=1, keepdim=True)
        + 2 * target_direction * (direction * x).sum(dim=1, keepdim=True)
    )
    has_direction = length * LARGEST_SCALE > target_length
    scale = target_length / torch.where(has_direction, length, 1.0)
    return straight_through(torch.where(has_direction, scale * rotated, x), target)
