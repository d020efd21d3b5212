"""Weights for the KL term that change while training: objects that take a step and give a number.

beta-VAE (Higgins et al., 2017) is a fixed weight, a plain float. The others lead from 0 to that weight.
"""

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """A weight by step."""

    def __call__(self, step: int) -> float:
        """Return the weight at optimiser step `step`, counted from 0."""


@dataclass(frozen=True)
class LinearAnnealing:
    """``weight * step / steps``, then `weight` (Bowman et al., 2016, arXiv:1511.06349)."""

    weight: float
    steps: int

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, step: int) -> float:
        return self.weight * min(step / self.steps, 1.0)


@dataclass(frozen=True)
class CosineAnnealing:
    """Half a cosine from 0 to `weight` over `steps`, then `weight`: no kink at either end."""

    weight: float
    steps: int

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, step: int) -> float:
        return self.weight * (1 - math.cos(math.pi * min(step / self.steps, 1.0))) / 2


@dataclass(frozen=True)
class CyclicalAnnealing:
    """Every `steps`, rise from 0 to `weight` in `ramp` of the cycle and stay (Fu et al., 2019, arXiv:1903.10145)."""

    weight: float
    steps: int
    ramp: float = 0.5

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        if not 0 < self.ramp <= 1:
            raise ValueError(f"`ramp` is {self.ramp}; it is the share of a cycle that rises, in (0, 1].")

    def __call__(self, step: int) -> float:
        position = step % self.steps / self.steps
        return self.weight * min(position / self.ramp, 1.0)


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"`steps` is {steps}; annealing takes at least 1, a fixed weight is a plain number.")
