"""What the contract looks at a model through."""

from collections.abc import Callable
from dataclasses import dataclass
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


@torch.no_grad()
def spread_latents(encoder: nn.Module, length: Tensor, bias: Tensor, x: Tensor) -> None:
    """Give the latents of `x` mean 0 and deviation 1: those of random weights are all nearest to the same code.

    `length` (latent_channels, 1, 1) and `bias` (latent_channels,) are those of the encoder's last convolution.
    """
    latents = encoder(x)
    mean, std = latents.mean(dim=(0, 2)), latents.std(dim=(0, 2))
    length.div_(std[:, None, None])
    bias.sub_(mean).div_(std)


class EncodeToCodes(nn.Module):
    """The public `encode` as a module with a tensor output, for compilers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.model.encode(waveform).audio_codes


class DecodeCodes(nn.Module):
    """The public `decode` as a module with a tensor output, for compilers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor | tuple[Tensor, ...]) -> Tensor:
        return self.model.decode(codes).audio_values


def levels_of(codes: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (codes,) if isinstance(codes, Tensor) else codes


def equal_codes(actual: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(levels_of(actual), levels_of(expected), strict=True))


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def as_tuple_of(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in model.state_dict().items()}


def properties(model: Any) -> tuple[Any, ...]:
    zeros = torch.zeros(1, model.latent_channels, 1)
    normalized = model.normalize_latents(zeros).flatten().tolist() if model.has_latent_statistics else None
    return model.hop_length, model.latent_channels, model.sampling_rate, model.frame_rate, normalized


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_equal_within_rounding(actual: Tensor, expected: Tensor, operations: int = 64) -> None:
    """Compare relative to the largest value; errors of sums grow with their length, 64 roundings cover tiny models."""
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(actual, expected, rtol=0, atol=operations * torch.finfo(expected.dtype).eps * scale)


def wrong_tensors(right: Tensor) -> list[tuple[Tensor, str, str]]:
    """Wrong tensors, what of their values the message has to hold, and the remedy."""
    channels = right.shape[1] + 1
    nan, infinite = right.clone(), right.clone()
    nan[..., 1] = torch.nan
    infinite[..., 2] = -torch.inf
    return [
        (right[0], str(tuple(right.shape[1:])), "dimensions"),
        (right[None], str((1, *right.shape)), "dimensions"),
        (torch.cat([right, right[:, :1]], dim=1), f"{channels} channels", f"load a {channels}-channel model"),
        ((100 * right).to(torch.int16), "torch.int16", "convert"),
        (right.to(torch.complex64), "torch.complex64", "convert"),
        (right[..., :0], str((*right.shape[:2], 0)), "every dimension has to be 1 or more"),
        (right[:0], str((0, *right.shape[1:])), "every dimension has to be 1 or more"),
        (nan, f"{nan.isnan().sum()} values", "repair"),
        (infinite, f"{infinite.isinf().sum()} values", "repair"),
    ]


@dataclass(frozen=True)
class Pass:
    """A forward and a backward pass: every parameter's gradient, and the bytes that were kept in between."""

    gradients: dict[str, Tensor | None]
    stored: int


def with_and_without_checkpointing(build: Callable[[], Any], loss: Callable[[Any], Tensor]) -> tuple[Pass, Pass]:
    """Return a pass of a new model as it is, and one of the same model with gradient checkpointing."""
    passes = []
    for checkpointing in (False, True):
        model = build().train()
        if checkpointing:
            model.enable_gradient_checkpointing()
        stored: list[int] = []

        def count(tensor: Tensor, stored: list[int] = stored) -> Tensor:
            stored.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            value = loss(model)
        value.backward()
        passes.append(Pass({name: p.grad for name, p in model.named_parameters()}, sum(stored)))
    return passes[0], passes[1]
