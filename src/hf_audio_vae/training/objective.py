from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True)
class StepLosses:
    """Losses and measurements of a batch for the training loop.

    Args:
        losses (`dict[str, torch.Tensor]`): A scalar loss for each learner to update, by its name.
        logged (`dict[str, torch.Tensor]`): Scalars for the log, by name.
        measured (`dict[str, torch.Tensor]`): Scalars or vectors that the objective adapts to. The loop averages them
            over the batches of a step and over processes, and passes them to `end_step`.
    """

    losses: dict[str, Tensor]
    logged: dict[str, Tensor]
    measured: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """Loss function of the learners of a run."""

    def __call__(self, batch: Any, step: int) -> StepLosses:
        """Compute the losses of a batch; may be called several times per step."""

    def end_step(self, measured: Mapping[str, list[float]]) -> None:
        """Adapt to the mean measurements of a step, equal on all processes; not called for a skipped step."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that changes from step to step, JSON-serializable."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state."""
