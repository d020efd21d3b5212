"""Layers one after another."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from hf_audio_vae.modules.chunking import span_through


@runtime_checkable
class Layered(Protocol):
    """A module that tells the layers it calls one after another."""

    def layers(self) -> Iterable[nn.Module]:
        """Return them in order."""


class Row(nn.Module, ABC):
    """Layers one after another, and the span of them all."""

    @abstractmethod
    def layers(self) -> Iterable[nn.Module]:
        """Layers in the order in which they are called; those without a span take each step of time by itself."""

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers():
            x = layer(x)  # by one name, what was before is let go
        return x

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return span_through((layer for layer in self.layers() if hasattr(layer, "input_span")), start, stop)
