"""Copies of modules with torch's older weight norm, which refuses them after a forward pass with gradients."""

import copy
from typing import Any, Self

from torch import nn
from torch.nn.utils.weight_norm import WeightNorm


class CopyableModule(nn.Module):
    """A module that can be copied at any time: the product of the factors of a weight is not copied with its graph."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        for module in self.modules():
            for hook in module._forward_pre_hooks.values():
                if isinstance(hook, WeightNorm):
                    setattr(module, hook.name, getattr(module, hook.name).detach())  # each pass computes it anew
        duplicate = type(self).__new__(type(self))
        memo[id(self)] = duplicate
        duplicate.__dict__ = copy.deepcopy(self.__dict__, memo)
        return duplicate
