"""Networks described by their layers.

A network that tells its layers, as a `Stack` or a `Residual`, can be coded in chunks, streamed, fused and exported
without code of its own. A layer that reads other inputs than that of its own step of time has an `input_span`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class SpannedModule(Protocol):
    """A network over time that knows which inputs its outputs [start, stop) read."""

    def __call__(self, x: Any) -> Any:
        """Run the network on a tensor, or on tensors of several rates."""

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first input and the one past the last that the outputs [start, stop) depend on.

        Raises:
            ValueError: Every output depends on the whole signal.
        """


def span_through(layers: Iterable[nn.Module], start: int, stop: int) -> tuple[int, int]:
    """Return which inputs of the first of `layers` the outputs [start, stop) of the last one read."""
    for layer in reversed(tuple(layers)):
        if isinstance(layer, SpannedModule):
            start, stop = layer.input_span(start, stop)
    return start, stop


def is_recurrent(module: nn.Module) -> bool:
    """Whether a module has an RNN, whose outputs depend on all inputs before them."""
    return any(isinstance(layer, nn.RNNBase) for layer in module.modules())


class Stack(nn.Module, ABC):
    """Layers one after another."""

    @abstractmethod
    def layers(self) -> Iterable[nn.Module]:
        """Return the layers in the order in which they are called."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            x = layer(x)  # under one name, so that the input is freed
        return x

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Inputs that the outputs [start, stop) read; of an RNN, those of the same steps of time."""
        return span_through(self.layers(), start, stop)


class CheckpointedStack(Stack):
    """A stack whose inner stacks are computed again in the backward pass, if gradient checkpointing is enabled."""

    gradient_checkpointing = False
    _gradient_checkpointing_func: Callable[..., Tensor]

    def forward(self, x: Tensor) -> Tensor:
        if not (self.gradient_checkpointing and torch.is_grad_enabled()):
            return super().forward(x)
        for layer in self.layers():
            x = self._gradient_checkpointing_func(layer, x) if isinstance(layer, Stack) else layer(x)
        return x


class Residual(nn.Module, ABC):
    """A branch of layers, the last of them a convolution, plus a shortcut; (batch, channels, time) -> same."""

    shortcut: nn.Module

    @abstractmethod
    def branch(self) -> Iterable[nn.Module]:
        """Return the branch's layers in the order in which they are called."""

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.branch():
            y = layer(y)  # under one name, so that the input is freed
        return y.add_(self.shortcut(x))  # in place: a convolution does not keep its output for the backward pass

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Inputs that the outputs [start, stop) read."""
        return span_through(self.branch(), start, stop)
