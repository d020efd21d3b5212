from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from diffusers.optimization import get_scheduler
from torch import Tensor, nn

from hf_audio_vae.training.config import TrainingConfig


@dataclass(eq=False)
class Learner:
    """A network and what trains it.

    Args:
        module (`torch.nn.Module`): Prepared by accelerate.
        optimizer (`torch.optim.Optimizer`): Prepared.
        lr_scheduler: Prepared; stepped with the optimiser.
        parts (`Mapping[str, torch.nn.Module]`): What to report on by itself, not wrapped.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    lr_scheduler: Any
    parts: Mapping[str, nn.Module] = field(default_factory=dict)

    def gradient_norms(self, total: Tensor, max_norm: float) -> dict[str, Tensor]:
        """Norm of each part's gradient as it was before clipping.

        Args:
            total (`torch.Tensor`): Norm of the whole gradient before clipping, a scalar.
            max_norm (`float`): Where it was clipped.
        """
        clipped = (total / max_norm).clamp_min(1.0)
        norms = {}
        for name, part in self.parts.items():
            gradients = [parameter.grad for parameter in part.parameters() if parameter.grad is not None]
            norms[f"gradient_norm/{name}"] = clipped * nn.utils.get_total_norm(gradients)
        return norms

    @contextmanager
    def measured_update(self, into: dict[str, Tensor]) -> Iterator[None]:
        """Write the relative change of each part's weights to `into`: the norm of a step over the norm of the weights.

        About 1e-3 is healthy; far below it a part stands still, far above it is thrown about.
        """
        before = {name: [p.detach().clone() for p in part.parameters()] for name, part in self.parts.items()}
        yield
        for name, part in self.parts.items():
            changes = [new.detach() - old for new, old in zip(part.parameters(), before[name], strict=True)]
            norm = nn.utils.get_total_norm(before[name])
            into[f"update_to_weight/{name}"] = nn.utils.get_total_norm(changes) / norm


def prepare_learner(
    accelerator: Accelerator, module: nn.Module, config: TrainingConfig, *, learning_rate: float, steps: int
) -> Learner:
    """Give a network an AdamW optimiser and a schedule of its own, all prepared.

    Args:
        accelerator (`accelerate.Accelerator`): Of the run.
        module (`torch.nn.Module`): What to train; what of it needs no gradient is left alone.
        config (`TrainingConfig`): Adam's numbers and the kind of schedule.
        learning_rate (`float`): Its rate after the warm-up.
        steps (`int`): Steps it will make, for the schedule.
    """
    optimizer = torch.optim.AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        weight_decay=config.adam_weight_decay,
    )
    lr_scheduler = get_scheduler(
        config.lr_scheduler, optimizer, num_warmup_steps=config.lr_warmup_steps, num_training_steps=steps
    )
    parts = {name: part for name, part in module.named_children() if any(True for _ in part.parameters())}
    prepared, optimizer, lr_scheduler = accelerator.prepare(module, optimizer, lr_scheduler)
    return Learner(prepared, optimizer, lr_scheduler, parts)
