"""Networks defined by their list of layers.

A `Stack` or a `Residual` lists its layers, so it needs no further code to be run in chunks, streamed, fused or
exported. A layer that reads inputs of other time steps than its output's has an `input_span`.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class SpannedModule(Protocol):
    """A network over time that returns which inputs its outputs [start, stop) read."""

    def __call__(self, x: Any) -> Any:
        """Run the network on a tensor, or on several tensors at different rates."""

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, end) of inputs that the outputs [start, stop) depend on.

        Raises:
            ValueError: Every output depends on the whole signal.
        """


def span_through(layers: Iterable[nn.Module], start: int, stop: int) -> tuple[int, int]:
    """Return the range of inputs of the first layer that the outputs [start, stop) of the last layer read."""
    for layer in reversed(tuple(layers)):
        if (input_span := getattr(layer, "input_span", None)) is not None:  # a wrapped layer has it, too
            start, stop = input_span(start, stop)
    return start, stop


def layers_of(network: nn.Module) -> tuple[nn.Module, ...] | None:
    """Return the layers of a stack, also of a wrapped one, as by `torch.compile`; `None` if it is no stack."""
    layers = getattr(network, "layers", None)
    return tuple(layers()) if inspect.ismethod(layers) else None


def is_recurrent(module: nn.Module) -> bool:
    """Whether a module contains an RNN, whose outputs depend on all earlier inputs."""
    return any(isinstance(layer, nn.RNNBase) or getattr(layer, "is_recurrent", False) for layer in module.modules())


class Stack(nn.Module, ABC):
    """Layers applied in sequence."""

    @abstractmethod
    def layers(self) -> Iterable[nn.Module]:
        """Return the layers in call order."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            x = layer(x)  # reuses the name, so that the input is freed
        return x

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Range of inputs that the outputs [start, stop) read; for an RNN, the same time steps."""
        return span_through(self.layers(), start, stop)


class CheckpointedStack(Stack):
    """A stack that recomputes its inner stacks in the backward pass if gradient checkpointing is enabled."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return super().forward(x)
        for layer in self.layers():
            x = layer(x) if layers_of(layer) is None else self._gradient_checkpointing_func(layer, x)
        return x


class Residual(nn.Module, ABC):
    """A branch of layers, plus a shortcut; (batch, channels, time) -> same."""

    shortcut: nn.Module

    @abstractmethod
    def branch(self) -> Iterable[nn.Module]:
        """Return the layers of the branch in call order."""

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.run_branch(x)

    def run_branch(self, x: Tensor) -> Tensor:
        for layer in self.branch():
            x = layer(x)  # reuses the name, so that the input is freed
        return x

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Range of inputs that the outputs [start, stop) read."""
        return span_through(self.branch(), start, stop)
