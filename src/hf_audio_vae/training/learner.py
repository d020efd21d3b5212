import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from diffusers.optimization import get_scheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from hf_audio_vae.training.config import TrainingConfig

logger = get_logger(__name__)


@dataclass(eq=False)
class Learner:
    """A network with its optimiser and learning rate schedule.

    Args:
        module (`torch.nn.Module`): Prepared by accelerate.
        optimizer (`torch.optim.Optimizer`): Prepared.
        lr_scheduler: Prepared; stepped with the optimiser.
        parts (`Mapping[str, torch.nn.Module]`): Submodules with statistics of their own in the log, not wrapped.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    lr_scheduler: Any
    parts: Mapping[str, nn.Module] = field(default_factory=dict)

    def hyperparameters(self) -> list[dict[str, Any]]:
        """Return the options of each parameter group of the optimiser."""
        groups = self.optimizer.param_groups
        return [{name: value for name, value in group.items() if name != "params"} for group in groups]

    def set_hyperparameters(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Replace the options of the optimiser and compute the learning rates of the present step from them."""
        schedule = self.lr_scheduler.scheduler
        for group, options in zip(self.optimizer.param_groups, groups, strict=True):
            group.update(options)
        schedule.base_lrs = [options["initial_lr"] for options in groups]
        schedule.last_epoch -= 1
        schedule.step()

    def changed_rates(self) -> tuple[float, float] | None:
        """Return the restored learning rate, and the one that the schedule has at this step; `None` if they agree."""
        schedule = self.lr_scheduler.scheduler
        if not isinstance(schedule, LambdaLR):
            return None
        base = schedule.base_lrs[0]
        restored = float(schedule.get_last_lr()[0])
        planned = float(base * schedule.lr_lambdas[0](schedule.last_epoch))
        return None if math.isclose(restored, planned, rel_tol=1e-6, abs_tol=1e-9 * base) else (restored, planned)

    def gradient_norms(self, total: Tensor, max_norm: float) -> dict[str, Tensor]:
        """Return the gradient norm of each part before clipping.

        Args:
            total (`torch.Tensor`): Norm of the whole gradient before clipping, a scalar.
            max_norm (`float`): Norm that it was clipped to.
        """
        clipped = (total / max_norm).clamp_min(1.0)
        norms = {}
        for name, module in self.parts.items():
            gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
            norms[f"gradient_norm/{name}"] = clipped * nn.utils.get_total_norm(gradients)
        return norms

    @contextmanager
    def measured_update(self, into: dict[str, Tensor]) -> Iterator[None]:
        """Write the relative change of each part's weights to `into`: norm of the update over norm of the weights.

        About 1e-3 is healthy. A part hardly learns far below it and is unstable far above it.
        """
        before = {name: [p.detach().clone() for p in module.parameters()] for name, module in self.parts.items()}
        yield
        for name, module in self.parts.items():
            changes = [new.detach() - old for new, old in zip(module.parameters(), before[name], strict=True)]
            norm = nn.utils.get_total_norm(before[name])
            into[f"update_to_weight/{name}"] = nn.utils.get_total_norm(changes) / norm


def prepare_learner(
    accelerator: Accelerator, module: nn.Module, config: TrainingConfig, *, learning_rate: float, steps: int
) -> Learner:
    """Create an AdamW optimiser and a schedule for a network, and prepare all three.

    Args:
        accelerator (`accelerate.Accelerator`): Accelerator of the run.
        module (`torch.nn.Module`): Network to train; parameters that need no gradient are left out.
        config (`TrainingConfig`): Adam's hyperparameters and the schedule.
        learning_rate (`float`): Learning rate after the warm-up.
        steps (`int`): Length of the schedule in optimiser steps.
    """
    optimizer = torch.optim.AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        weight_decay=config.adam_weight_decay,
        fused=accelerator.scaler is None,  # a fused step hides from accelerate that the scaler skipped it
    )
    if config.lr_warmup_steps > steps and config.lr_scheduler != "constant":
        logger.warning(
            f"`lr_warmup_steps` is {config.lr_warmup_steps}, more than the updates of a network, {steps}: the "
            f"learning rate stays below {learning_rate:g}"
        )
    lr_scheduler = get_scheduler(
        config.lr_scheduler, optimizer, num_warmup_steps=config.lr_warmup_steps, num_training_steps=steps
    )
    parts = {name: child for name, child in module.named_children() if any(True for _ in child.parameters())}
    prepared, optimizer, lr_scheduler = accelerator.prepare(module, optimizer, lr_scheduler)
    return Learner(prepared, optimizer, lr_scheduler, parts)
