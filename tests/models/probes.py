"""What the contract looks at a model through."""

from typing import Any

import torch
from torch import Tensor, nn


class Encode(nn.Module):
    """The public `encode` as a module with tensor outputs, for compilers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.model.encode(waveform).latent_dist
        return posterior.mean, posterior.std


class Decode(nn.Module):
    """The public `decode` as a module with a tensor output, for compilers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents).sample


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def as_tuple_of(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def properties(model: Any) -> tuple[Any, ...]:
    normalized = model.normalize_latents(torch.zeros(1, model.latent_channels, 1)).flatten().tolist()
    return model.hop_length, model.latent_channels, model.sampling_rate, model.frame_rate, normalized
