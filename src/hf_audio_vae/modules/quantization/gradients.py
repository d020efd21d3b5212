"""How a gradient gets past the choice of a code, which has none."""

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_SCALE = 1000.0  # of a code over a vector; beyond, the vector has next to no direction to be rotated from


def straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """Return `quantized`, to the bit, with the gradient going on to `x` unchanged (van den Oord et al., 2017)."""
    return quantized.detach().to(x.dtype) + (x - x.detach())


def rotate_through(x: Tensor, quantized: Tensor) -> Tensor:
    """Return `quantized`, to the bit, with the gradient of the rotation and scaling that takes `x` there.

    Fifty et al., 2024 (arXiv:2410.06424), eq. 4: ``q = λ R x`` with ``R = I - 2 r rᵀ + 2 q̂ x̂ᵀ``, ``r`` the unit
    vector between the directions ``x̂`` and ``q̂``, ``λ = |q| / |x|``; R and λ are constants to the gradient. It
    depends on where in its cell `x` lies, and angles between gradient and code are kept. Where `x` is next to nothing,
    it has no direction and the gradient passes straight through.

    Args:
        x (`torch.Tensor` of shape `(batch, dim, frames)`): Vectors before quantization.
        quantized (`torch.Tensor`, same shape): The codes' vectors.
    """
    fixed, target = x.detach(), quantized.detach().to(x.dtype)
    length, target_length = (v.norm(dim=1, keepdim=True) for v in (fixed, target))
    direction, target_direction = F.normalize(fixed, dim=1), F.normalize(target, dim=1)
    between = F.normalize(direction + target_direction, dim=1)
    rotated = (
        x
        - 2 * between * (between * x).sum(dim=1, keepdim=True)
        + 2 * target_direction * (direction * x).sum(dim=1, keepdim=True)
    )
    has_direction = length * LARGEST_SCALE > target_length
    scale = target_length / torch.where(has_direction, length, 1.0)
    return straight_through(torch.where(has_direction, scale * rotated, x), target)
