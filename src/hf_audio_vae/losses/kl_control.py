"""Weights for the KL term that answer to the KL itself: schedules that are told what was measured.

A step's weights follow from the steps before it, never from its own batch. They are then one set of numbers for all
processes and accumulation steps, and the gradient is linear in the batch: splitting it changes nothing.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from hf_audio_vae.losses.kl import Schedule

NATS_A_BIT = math.log(2)
DECAY = 0.9  # of a running mean of the KL: it stands for the data set's, which one batch only hints at
MAX_LOG_ERROR = 1.0
MAX_LOG_CHANGE = math.log(1e4)


@runtime_checkable
class KLControl(Protocol):
    """A weight for each latent channel by step, which has to be told the KL after each."""

    def __call__(self, step: int) -> float | Tensor:
        """Return one weight, or one for each channel, (latent_channels,)."""

    def update(self, kl: Sequence[float]) -> None:
        """Take a step's mean KL of each channel, in nats a frame, over all of its batches and processes."""

    def state_dict(self) -> dict[str, Any]:
        """Return what was learnt, fit for JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""


class _MeasuredKL:
    """Keeps a running mean of the KL of each channel; with a `decay` of 0 the last step's."""

    def __init__(self, decay: float = DECAY) -> None:
        self.decay = decay
        self.mean: list[float] | None = None

    def update(self, kl: Sequence[float]) -> None:
        """Take a step's mean KL of each channel, in nats a frame, over all of its batches and processes."""
        before = self.mean if self.mean is not None else kl
        self.mean = [self.decay * old + (1 - self.decay) * new for old, new in zip(before, kl, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the running mean, fit for JSON."""
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.mean = state["mean"]


class FreeBits(_MeasuredKL):
    """Leaves a latent channel alone while its KL is under `bits` a frame (Kingma et al., 2016, arXiv:1606.04934).

    That is the gradient of ``weight * sum_c max(bits, E[KL_c])`` with the expectation over the data taken as a running
    mean.

    Args:
        weight (`float` or `Schedule`): Of a channel that uses more than its free bits.
        bits (`float`): A frame and channel, in bits.

    Raises:
        ValueError: `bits` is not positive.

    Example:
        >>> control = FreeBits(0.1, bits=1.0)
        >>> control.update([0.2, 5.0])  # nats a frame, of two channels
        >>> control(0)
        tensor([0.0000, 0.1000])
    """

    def __init__(self, weight: float | Schedule, *, bits: float) -> None:
        super().__init__()
        if not 0 < bits < math.inf:
            raise ValueError(
                f"`bits` is {bits}; it has to be positive, without free bits the weight is a plain number."
            )
        self.weight = weight
        self.bits = bits

    def __call__(self, step: int) -> float | Tensor:
        """Return the weight of each channel, 0 for those under their free bits."""
        weight = self.weight(step) if callable(self.weight) else self.weight
        if self.mean is None:
            return weight
        return weight * (torch.tensor(self.mean) > self.bits * NATS_A_BIT).float()


class CapacityAnnealing(_MeasuredKL):
    """Holds the KL at a capacity that rises from 0 (Burgess et al., 2018, arXiv:1804.03599, eq. 8).

    The gradient of ``weight * |KL - C(step)|``, with `C` linear from 0 to `nats` in `steps`: the KL is pushed down
    above the capacity and up below it. Whether it is above is read off the step before: a weight that changes its sign
    on a mean of many steps comes late, and overshoots.

    Args:
        weight (`float`): The paper's gamma.
        nats (`float`): Final capacity, in nats a latent frame, all channels together.
        steps (`int`): Until it is reached.

    Raises:
        ValueError: A value is not positive.

    Example:
        >>> control = CapacityAnnealing(2.0, nats=10.0, steps=100)
        >>> control.update([1.0, 3.0])  # 4 nats a frame
        >>> control(30), control(50)  # the capacity is 3, then 5
        (2.0, -2.0)
    """

    def __init__(self, weight: float, *, nats: float, steps: int) -> None:
        super().__init__(decay=0.0)
        if not 0 < nats < math.inf or steps < 1:
            raise ValueError(f"`nats` is {nats} and `steps` {steps}; the capacity has to rise, in at least one step.")
        self.weight = weight
        self.nats = nats
        self.steps = steps

    def __call__(self, step: int) -> float:
        """Return the weight, negative while the KL is below capacity."""
        capacity = self.nats * min(step / self.steps, 1.0)
        return self.weight if self.mean is None or sum(self.mean) >= capacity else -self.weight


class TargetRate(_MeasuredKL):
    """Finds the weight at which the KL is a given rate, so that models of any size and loss can be compared.

    A proportional-integral controller, as in ControlVAE (Shao et al., 2020, arXiv:2004.05988), here of the logarithms:
    with ``e = log(rate / target)``, cut to +-1, ``log weight = log start + gain * e + sum(e) / integral_steps``.

    Args:
        bits_per_second (`float`): What the KL of all channels should come to.
        frame_rate (`float`): Latent frames a second.
        weight (`float`): Where to start; the weight stays within a factor of 10,000 of it.
        gain (`float`): Proportional answer.
        integral_steps (`float`): Steps in which the weight changes e-fold under an error of e-fold.

    Raises:
        ValueError: A value is not positive.

    Example:
        >>> control = TargetRate(1000.0, frame_rate=50.0, weight=1e-3)
        >>> control.update([40.0])  # 2885 bits a second: too much, so the weight rises
        >>> control(0) > 1e-3
        True
    """

    def __init__(
        self,
        bits_per_second: float,
        *,
        frame_rate: float,
        weight: float = 1e-4,
        gain: float = 0.5,
        integral_steps: float = 100.0,
    ) -> None:
        super().__init__()
        numbers = {"bits_per_second": bits_per_second, "frame_rate": frame_rate, "weight": weight, "gain": gain}
        wrong = {
            name: number
            for name, number in (numbers | {"integral_steps": integral_steps}).items()
            if not 0 < number < math.inf
        }
        if wrong:
            raise ValueError(f"{wrong} cannot be; give positive numbers.")
        self.bits_per_second = bits_per_second
        self.frame_rate = frame_rate
        self.weight = weight
        self.gain = gain
        self.integral_steps = integral_steps
        self.integral = 0.0

    def __call__(self, step: int) -> float:
        """Return the weight that the measurements ask for; `step` is not used, each update is one."""
        return self.weight * math.exp(_bounded(self.integral + self.gain * self._error(), MAX_LOG_CHANGE))

    def update(self, kl: Sequence[float]) -> None:
        """Take a step's mean KL of each channel, in nats a frame, over all of its batches and processes."""
        super().update(kl)
        self.integral = _bounded(self.integral + self._error() / self.integral_steps, MAX_LOG_CHANGE)

    def _error(self) -> float:
        if self.mean is None:
            return 0.0
        rate = max(sum(self.mean) / NATS_A_BIT * self.frame_rate, 1e-9)
        return _bounded(math.log(rate / self.bits_per_second), MAX_LOG_ERROR)

    def state_dict(self) -> dict[str, Any]:
        """Return measurements and integral, fit for JSON."""
        return super().state_dict() | {"integral": self.integral}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        super().load_state_dict(state)
        self.integral = state["integral"]


def _bounded(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
