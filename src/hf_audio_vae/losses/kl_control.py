"""KL weights controlled by the measured KL.

The weights of a step depend on the previous steps, never on its own batch. All processes and accumulation steps use
the same weights, and the gradient is linear in the batch, so splitting the batch does not change it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from hf_audio_vae.losses.kl import Schedule

NATS_A_BIT = math.log(2)
DECAY = 0.9  # of the running mean of the KL, an estimate for the data set; one batch is too noisy
MAX_LOG_ERROR = 1.0
MAX_LOG_CHANGE = math.log(1e4)


@runtime_checkable
class KLControl(Protocol):
    """KL weight of each latent channel by step; call `update` with the KL after each step."""

    def __call__(self, step: int) -> float | Tensor:
        """Return one weight for all channels, or one for each, (latent_channels,)."""

    def update(self, kl: Sequence[float]) -> None:
        """Update with a step's mean KL of each channel in nats per frame, over all of its batches and processes."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state, JSON-serialisable."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state."""


class _MeasuredKL:
    """Keeps a running mean of the KL of each channel; with a `decay` of 0, the KL of the last step."""

    def __init__(self, decay: float = DECAY) -> None:
        self.decay = decay
        self.mean: list[float] | None = None

    def update(self, kl: Sequence[float]) -> None:
        """Update with a step's mean KL of each channel in nats per frame, over all of its batches and processes."""
        previous = self.mean if self.mean is not None else kl
        self.mean = [self.decay * old + (1 - self.decay) * new for old, new in zip(previous, kl, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return the running mean, JSON-serialisable."""
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state."""
        self.mean = state["mean"]


class FreeBits(_MeasuredKL):
    """Weight 0 for a latent channel while its KL is under `bits` per frame (Kingma et al., 2016, arXiv:1606.04934).

    This is the gradient of ``weight * sum_c max(bits, E[KL_c])``, with the expectation over the data estimated by a
    running mean.

    Args:
        weight (`float` or `Schedule`): Weight of a channel above its free bits.
        bits (`float`): Free bits per frame and channel.

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
                f"`bits` is {bits}; it has to be positive; for no free bits, give a plain number as weight."
            )
        self.weight = weight
        self.bits = bits

    def __call__(self, step: int) -> float | Tensor:
        """Return the weight of each channel, 0 for channels under their free bits."""
        weight = self.weight(step) if callable(self.weight) else self.weight
        if self.mean is None:
            return weight
        return weight * (torch.tensor(self.mean) > self.bits * NATS_A_BIT).float()


class CapacityAnnealing(_MeasuredKL):
    """Holds the KL at a capacity that rises from 0 (Burgess et al., 2018, arXiv:1804.03599, eq. 8).

    The gradient of ``weight * |KL - C(step)|``, with `C` linear from 0 to `nats` in `steps`: the KL is pushed down
    above the capacity and up below it. The sign is taken from the KL of the previous step: the running mean of many
    steps would change its sign late and overshoot.

    Args:
        weight (`float`): The paper's gamma.
        nats (`float`): Final capacity in nats per latent frame, summed over channels.
        steps (`int`): Steps until it is reached.

    Raises:
        ValueError: An argument is not positive.

    Example:
        >>> control = CapacityAnnealing(2.0, nats=10.0, steps=100)
        >>> control.update([1.0, 3.0])  # 4 nats a frame
        >>> control(30), control(50)  # the capacity is 3, then 5
        (2.0, -2.0)
    """

    def __init__(self, weight: float, *, nats: float, steps: int) -> None:
        super().__init__(decay=0.0)
        if not 0 < nats < math.inf or steps < 1:
            raise ValueError(f"`nats` is {nats} and `steps` {steps}; both have to be positive.")
        self.weight = weight
        self.nats = nats
        self.steps = steps

    def __call__(self, step: int) -> float:
        """Return the weight, negative while the KL is below capacity."""
        capacity = self.nats * min(step / self.steps, 1.0)
        return self.weight if self.mean is None or sum(self.mean) >= capacity else -self.weight


class TargetRate(_MeasuredKL):
    """Controls the weight to reach a target KL rate, so that models of any size and loss can be compared.

    A proportional-integral controller, as in ControlVAE (Shao et al., 2020, arXiv:2004.05988), here in the log domain:
    with ``e = log(rate / target)``, clamped to +-1, ``log weight = log start + gain * e + sum(e) / integral_steps``.

    Args:
        bits_per_second (`float`): Target KL rate, summed over channels.
        frame_rate (`float`): Latent frames per second.
        weight (`float`): Initial weight; the weight stays within a factor of 10,000 of it.
        gain (`float`): Proportional gain.
        integral_steps (`float`): Steps in which the weight changes e-fold under an e-fold error.

    Raises:
        ValueError: An argument is not positive.

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
        invalid = {
            name: number
            for name, number in (numbers | {"integral_steps": integral_steps}).items()
            if not 0 < number < math.inf
        }
        if invalid:
            raise ValueError(f"{invalid} are out of range; give positive finite numbers.")
        self.bits_per_second = bits_per_second
        self.frame_rate = frame_rate
        self.weight = weight
        self.gain = gain
        self.integral_steps = integral_steps
        self.integral = 0.0

    def __call__(self, step: int) -> float:
        """Return the controlled weight; `step` is unused, since each update counts as a step."""
        return self.weight * math.exp(_bounded(self.integral + self.gain * self._error(), MAX_LOG_CHANGE))

    def update(self, kl: Sequence[float]) -> None:
        """Update with a step's mean KL of each channel in nats per frame, over all of its batches and processes."""
        super().update(kl)
        self.integral = _bounded(self.integral + self._error() / self.integral_steps, MAX_LOG_CHANGE)

    def _error(self) -> float:
        if self.mean is None:
            return 0.0
        rate = max(sum(self.mean) / NATS_A_BIT * self.frame_rate, 1e-9)
        return _bounded(math.log(rate / self.bits_per_second), MAX_LOG_ERROR)

    def state_dict(self) -> dict[str, Any]:
        """Return the running mean and the integral, JSON-serialisable."""
        return super().state_dict() | {"integral": self.integral}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state."""
        super().load_state_dict(state)
        self.integral = state["integral"]


def _bounded(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
