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
    """A batch with the names of its items and the seconds of audio in it."""

    names: list[str]
    seconds: float

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""


class ResumableLoader(Protocol):
    """Endless batches with a resumable position."""

    @property
    def epoch(self) -> int:
        """Passes through the data so far."""

    def __iter__(self) -> Iterator[Any]:
        """Yield batches."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the stream, JSON-serializable."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the position."""


@dataclass
class Progress:
    """Progress of a run, saved in every checkpoint.

    Args:
        step (`int`): Optimiser steps done.
        skipped_steps (`int`): Steps skipped because loss or gradient was NaN or infinite.
        skipped_in_a_row (`int`): Skipped steps since the last step that was taken.
        history (`list`): Metrics of each validation, with their `step`.
    """

    step: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


@dataclass
class Run:
    """State of a training run, saved in checkpoints.

    Args:
        accelerator (`accelerate.Accelerator`): Created with `step_scheduler_with_optimizer=False`.
        learners (`dict[str, Learner]`): Networks in training: `"model"`, and optionally `"discriminator"`.
        objective (`Objective`): Their losses.
        loader (`ResumableLoader`): Batches of this process; not prepared, because it shards by itself.
        ema (`EMA`): The averaged model.
        checkpoints (`Checkpoints`): Reads and writes the checkpoint folders.
        recipe (`dict`): Values that must not change when the run is resumed, JSON-serializable.
        progress (`Progress`): Steps and metrics so far.
    """

    accelerator: Accelerator
    learners: dict[str, Learner]
    objective: Objective
    loader: ResumableLoader
    ema: EMA[Any]  # model with `save_pretrained` and `from_pretrained`
    checkpoints: Checkpoints
    recipe: dict[str, Any] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    @property
    def model(self) -> nn.Module:
        """The prepared network that the average follows."""
        return self.learners["model"].module

    def save_checkpoint(self) -> Path:
        """Write `checkpoint-{step}`. Its `ema/` and `discriminator/` load like models. Every process calls this."""
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
        """Resume a checkpoint of the same run, bit for bit.

        Raises:
            ValueError: The recipe, or the number of processes or workers, differs from the checkpoint's.
        """
        state = self.checkpoints.read_state(checkpoint)
        theirs, ours = state["recipe"], self.recipe
        changed = sorted(name for name in theirs | ours if theirs.get(name) != ours.get(name))
        if changed:
            remedy = f"`--pretrained_model_name_or_path {checkpoint} --pretrained_subfolder {EMA_FOLDER}`"
            if "discriminator" in self.learners:
                remedy += f" and `--adversarial.pretrained_model_name_or_path {checkpoint}`"
            raise ValueError(
                f"{checkpoint} was made with other values of {', '.join(changed)}; resume with the same values, or "
                f"start from its weights with {remedy}."
            )
        self.progress = Progress(**state["progress"])
        self.objective.load_state_dict(state["objective"])
        self.loader.load_state_dict(state["loader"])
        averaged = type(self.ema.model).from_pretrained(checkpoint, subfolder=EMA_FOLDER)
        self.ema.model.load_state_dict(averaged.state_dict())
        self.ema.updates = state["ema_updates"]
        self.checkpoints.load(checkpoint)  # last, so that it overwrites random states changed before
        logger.info(f"resumed from {checkpoint}")

    def _save_models(self, folder: Path) -> None:
        self.ema.model.save_pretrained(folder / EMA_FOLDER)
        if "discriminator" in self.learners:
            discriminator = self.accelerator.unwrap_model(self.learners["discriminator"].module)
            discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
