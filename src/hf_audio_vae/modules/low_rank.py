"""Low-rank updates of the weights of layers (LoRA: Hu et al., 2021, arXiv:2106.09685).

An update is added to the weight of a layer, not to its output. The layer therefore keeps its padding, dilation and
stride, and can have weight norm. The factors have the same shapes as in peft.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, remove_weight_norm
from torch.nn.utils.weight_norm import WeightNorm

from hf_audio_vae.modules.convolution import (
    GroupNormConv1d,
    GroupNormConvTranspose1d,
    WeightNormConv1d,
    WeightNormConv2d,
    WeightNormConvTranspose1d,
    fold_weight_norm,
)

NORMALISED = (WeightNormConv1d, WeightNormConv2d, WeightNormConvTranspose1d)
PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, GroupNormConv1d, GroupNormConvTranspose1d)
ADAPTABLE = (*NORMALISED, *PLAIN)


class LowRank(nn.Module):
    """Low-rank update of a weight, as a parametrization of torch: ``weight + scale * lora_B @ lora_A``.

    The weight is flattened to a matrix of its first dimension and all others. The initial update is zero.

    Args:
        shape (`tuple[int, ...]`): Shape of the weight.
        rank (`int`): Number of columns of `lora_B` and of rows of `lora_A`.
        scale (`float`): Factor of the product.

    Example:
        >>> update, weight = LowRank((4, 3, 5), 2, 1.0), torch.randn(4, 3, 5)
        >>> tuple(update.lora_A.shape), tuple(update.lora_B.shape), torch.equal(update(weight), weight)
        ((2, 3, 5), (4, 2, 1), True)
    """

    def __init__(self, shape: tuple[int, ...], rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.lora_A = nn.Parameter(torch.empty(rank, *shape[1:]))
        self.lora_B = nn.Parameter(torch.zeros(shape[0], rank, *(1 for _ in shape[2:])))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def extra_repr(self) -> str:
        return f"weight={self.shape}, rank={len(self.lora_A)}, scale={self.scale:g}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return (len(self.lora_B), *self.lora_A.shape[1:])

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated weight."""
        product = self.lora_B.flatten(1) @ self.lora_A.flatten(1)
        return weight + (self.scale * product).view(self.shape).to(weight.dtype)


def weight_of(layer: nn.Module) -> Tensor:
    """Return the weight that a layer multiplies with, after its weight norm if there is one."""
    if isinstance(layer, NORMALISED):
        return layer.weight()
    if (norm := _hook(layer)) is not None:
        return norm.compute_weight(layer)
    weight: Tensor = layer.weight  # type: ignore[assignment]
    return weight


def register_update(layer: nn.Module, update: LowRank) -> None:
    """Add an update to the weight of a layer in place, and freeze the weight. Weight norm is folded."""
    name = "weight"
    if isinstance(layer, NORMALISED):
        fold_weight_norm(layer)
        name = "weight_v"
    elif _hook(layer) is not None:
        remove_weight_norm(layer)
    getattr(layer, name).requires_grad_(False)
    parametrize.register_parametrization(layer, name, update)


@torch.no_grad()
def set_weight(layer: nn.Module, weight: Tensor) -> None:
    """Set the weight that a layer multiplies with. A weight norm is kept; its length and direction are set."""
    if isinstance(layer, NORMALISED):
        layer.weight_v.copy_(weight)
        layer.weight_g.copy_(torch.linalg.vector_norm(weight, dim=layer.slice_dims, keepdim=True))
    elif (norm := _hook(layer)) is not None:
        getattr(layer, f"{norm.name}_v").copy_(weight)
        getattr(layer, f"{norm.name}_g").copy_(torch.norm_except_dim(weight, 2, norm.dim))
    elif parametrize.is_parametrized(layer, "weight"):
        layer.weight = weight  # type: ignore[assignment]  # torch computes length and direction
    else:
        weight_of(layer).copy_(weight)


def _hook(layer: nn.Module) -> WeightNorm | None:
    """Return torch's older weight norm of a layer, which is a hook."""
    hooks = layer._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, WeightNorm)), None)
