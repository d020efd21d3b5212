"""Schedules of the KL weight: callables from the optimiser step to a weight.

A fixed weight, as in beta-VAE (Higgins et al., 2017), is a plain float. The schedules increase the weight from 0.
"""

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """KL weight as a function of the step."""

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
    """Half a cosine from 0 to `weight` over `steps`, then `weight`; smooth at both ends."""

    weight: float
    steps: int

    def __post_init__(self) -> None:
        _check_steps(self.steps)

    def __call__(self, step: int) -> float:
        return self.weight * (1 - math.cos(math.pi * min(step / self.steps, 1.0))) / 2


@dataclass(frozen=True)
class CyclicalAnnealing:
    """Cycles of `steps`: rise from 0 to `weight` for a share `ramp`, stay (Fu et al., 2019, arXiv:1903.10145)."""

    weight: float
    steps: int
    ramp: float = 0.5

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        if not 0 < self.ramp <= 1:
            raise ValueError(f"`ramp` is {self.ramp}; it is the rising share of a cycle, in (0, 1].")

    def __call__(self, step: int) -> float:
        position = step % self.steps / self.steps
        return self.weight * min(position / self.ramp, 1.0)


@dataclass(frozen=True)
class DelayedSchedule:
    """0 for `start_step` steps, in which a VAE trains as an autoencoder, then a schedule from its start."""

    schedule: Schedule
    start_step: int

    def __post_init__(self) -> None:
        if self.start_step < 0:
            raise ValueError(f"`start_step` is {self.start_step}; give a step of 0 or more.")

    def __call__(self, step: int) -> float:
        return self.schedule(step - self.start_step) if step >= self.start_step else 0.0


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"`steps` is {steps}; annealing needs at least 1; for a fixed weight, give a plain number.")
