from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class StepLosses:
    """What the loop gets for a batch.

    Args:
        losses (`dict[str, torch.Tensor]`): A scalar to minimise for each learner that takes part, by its name.
        logged (`dict[str, torch.Tensor]`): Scalars for the log, by name.
        measured (`dict[str, torch.Tensor]`): Scalars or vectors that the objective adapts to. The loop averages them
            over the batches of a step and over processes, and hands them to `end_step`.
    """

    losses: dict[str, Tensor]
    logged: dict[str, Tensor]
    measured: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """What the learners of a run minimise."""

    def __call__(self, batch: Any, step: int) -> StepLosses:
        """Compute a batch's losses; may be called several times a step."""

    def end_step(self, measured: Mapping[str, list[float]]) -> None:
        """Adapt to the means of what a step measured, the same on every process; not called for a skipped step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what changes from step to step, fit for JSON."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
