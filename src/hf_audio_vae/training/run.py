from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import nn

from hf_audio_vae.discriminators.ensemble import DISCRIMINATOR_FOLDER
from hf_audio_vae.training.checkpoints import Checkpoints
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.objective import Objective

logger = get_logger(__name__)
EMA_FOLDER = "ema"


class Batch(Protocol):
    """What the loop has to know of a batch: where its items came from, how much sound it is, how to move it."""

    names: list[str]
    seconds: float

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""


class ResumableLoader(Protocol):
    """Batches without end, and where they stand."""

    @property
    def epoch(self) -> int:
        """Passes through the data so far."""

    def __iter__(self) -> Iterator[Any]:
        """Yield batches."""

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream stands, fit for JSON."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@dataclass
class Progress:
    """How far a run has come; goes into every checkpoint.

    Args:
        step (`int`): Optimiser steps done.
        skipped_steps (`int`): Steps left out because loss or gradient was NaN or infinite.
        skipped_in_a_row (`int`): Those since the last good one.
        history (`list`): Metrics of each validation, with their `step`.
    """

    step: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Run:
    """All that a checkpoint holds: what is trained and how far it has come.

    Args:
        accelerator (`accelerate.Accelerator`): Made with `step_scheduler_with_optimizer=False`.
        learners (`dict[str, Learner]`): What is trained: `"model"`, and perhaps `"discriminator"`.
        objective (`Objective`): What they minimise.
        loader (`ResumableLoader`): This process's batches; not prepared, it shards by itself.
        ema (`EMA`): The averaged model.
        checkpoints (`Checkpoints`): The folders.
        recipe (`dict`): What must not change between a run and its resume, fit for JSON.
        progress (`Progress`): The books.
    """

    accelerator: Accelerator
    learners: dict[str, Learner]
    objective: Objective
    loader: ResumableLoader
    ema: EMA[Any]  # of a model that has `save_pretrained` and `from_pretrained`
    checkpoints: Checkpoints
    recipe: dict[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    @property
    def model(self) -> nn.Module:
        """The network that the average follows, as prepared."""
        return self.learners["model"].module

    def save_checkpoint(self) -> Path:
        """Write `checkpoint-{step}`; `ema/` and `discriminator/` in it load like models. Every process calls this."""
        state = {
            "progress": asdict(self.progress),
            "ema_updates": self.ema.updates,
            "objective": self.objective.state_dict(),
            "loader": self.loader.state_dict(),
            "recipe": self.recipe,
        }
        folder = self.checkpoints.save(self.progress.step, state, self._save_models)
        logger.info(f"wrote {folder}")
        return folder

    def resume(self, checkpoint: Path) -> None:
        """Go on from a checkpoint of the same run, bit for bit.

        Raises:
            ValueError: The recipe, or the layout of processes and workers, is not the checkpoint's.
        """
        state = self.checkpoints.read_state(checkpoint)
        theirs, ours = state["recipe"], self.recipe
        changed = sorted(name for name in theirs | ours if theirs.get(name) != ours.get(name))
        if changed:
            remedy = f"`--pretrained_model_name_or_path {checkpoint} --pretrained_subfolder {EMA_FOLDER}`"
            if "discriminator" in self.learners:
                remedy += f" and `--adversarial.pretrained_model_name_or_path {checkpoint}`"
            raise ValueError(
                f"{checkpoint} was made with another {', '.join(changed)}; resume with the same, or start from its "
                f"weights with {remedy}."
            )
        self.progress = Progress(**state["progress"])
        self.objective.load_state_dict(state["objective"])
        self.loader.load_state_dict(state["loader"])
        averaged = type(self.ema.model).from_pretrained(checkpoint, subfolder=EMA_FOLDER)
        self.ema.model.load_state_dict(averaged.state_dict())
        self.ema.updates = state["ema_updates"]
        self.checkpoints.load(checkpoint)  # last: whatever draws random numbers before is forgotten
        logger.info(f"resumed from {checkpoint}")

    def _save_models(self, folder: Path) -> None:
        self.ema.model.save_pretrained(folder / EMA_FOLDER)
        if "discriminator" in self.learners:
            discriminator = self.accelerator.unwrap_model(self.learners["discriminator"].module)
            discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
