from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.snake import snake


class Snake(nn.Module, ABC):
    """``x + magnitude sin²(frequency x)`` with learned factors; (batch, channels, time) -> same."""

    @abstractmethod
    def factors(self) -> tuple[Tensor, Tensor]:
        """Return frequency and magnitude, (1, channels, 1) each, in float32 or higher precision."""

    def forward(self, x: Tensor) -> Tensor:
        return snake(x, *self.factors())


class Snake1d(Snake):
    """Snake with a separate magnitude, ``x + sin²(exp(α) x) / exp(β)``; (batch, channels, time) -> same.

    Ziyin et al., 2020 (arXiv:2006.08195), in the two-parameter form of BigVGAN (arXiv:2206.04658); both are learned
    per channel, on a log scale.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1, channels, 1))
        self.beta = nn.Parameter(torch.zeros(1, channels, 1))

    def factors(self) -> tuple[Tensor, Tensor]:
        alpha, beta = _at_least_float32(self.alpha), _at_least_float32(self.beta)
        return alpha.exp(), (beta.exp() + 1e-9).reciprocal()


class LinearSnake1d(Snake):
    """Snake as in DAC, ``x + sin²(α x) / α`` with α learned on a linear scale; (batch, channels, time) -> same.

    Kumar et al., 2023 (arXiv:2306.06546). α is negative in some published weights, so it has no log scale.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def factors(self) -> tuple[Tensor, Tensor]:
        alpha = _at_least_float32(self.alpha)
        return alpha, (alpha + 1e-9).reciprocal()


def _at_least_float32(parameter: Tensor) -> Tensor:
    """Promote to float32: a half-precision factor has a larger rounding error than its operand."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))
