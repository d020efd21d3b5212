import copy
from typing import Generic, TypeVar

import torch
from torch import nn

from hf_audio_vae.modules.quantization import Codebook

ModelT = TypeVar("ModelT", bound=nn.Module)


class EMA(Generic[ModelT]):
    """A copy of a model with the exponential moving average of its weights.

    The average is a whole model, so it is validated, saved and loaded like any other, without swapping weights.
    The decay is ``(1 + updates) / (10 + updates)`` where that is smaller, so early weights soon lose their influence.
    Codebooks are copied, because an average would follow restarted codes too slowly.

    Args:
        model (`torch.nn.Module`): Model in training, not wrapped.
        decay (`float`): Weight of the old average in an update, in [0, 1).

    Raises:
        ValueError: `decay` is outside [0, 1).
    """

    def __init__(self, model: ModelT, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` is {decay}; it has to be in [0, 1).")
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    def load(self, saved: ModelT) -> None:
        """Take the weights of a saved average."""
        self.model.load_state_dict(saved.state_dict())

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the weights of `model` and copy its buffers and codebooks."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - decay)
        for averaged, current in zip(self.model.buffers(), model.buffers(), strict=True):
            averaged.copy_(current)
        for module, source in zip(self.model.modules(), model.modules(), strict=True):
            if isinstance(module, Codebook) and isinstance(source, Codebook):
                module.vectors.copy_(source.vectors)
        self.updates += 1
