import copy
from typing import Generic, TypeVar

import torch
from torch import nn

from hf_audio_vae.modules.quantization import Codebook

ModelT = TypeVar("ModelT", bound=nn.Module)


class EMA(Generic[ModelT]):
    """A second model whose weights follow the first's as an exponential moving average.

    A whole model rather than a list of tensors: validated, saved and loaded like any other, with no weights to swap.
    Early on the decay is ``(1 + updates) / (10 + updates)`` where that is smaller, so the start is soon forgotten.
    Codebooks are copied, however they learn: an average would follow a code that is restarted elsewhere only slowly.

    Args:
        model (`torch.nn.Module`): The model that is trained, not wrapped.
        decay (`float`): Share of the average that a step keeps, in [0, 1).

    Raises:
        ValueError: `decay` is outside [0, 1).
    """

    def __init__(self, model: ModelT, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` is {decay}; it is the share of the average that a step keeps, in [0, 1).")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards `model`'s weights and copy its buffers and codebooks."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
        for own, its in zip(self.model.modules(), model.modules(), strict=True):
            if isinstance(own, Codebook) and isinstance(its, Codebook):
                own.vectors.copy_(its.vectors)
        self.updates += 1
