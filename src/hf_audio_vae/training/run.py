from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from torch import nn

from hf_audio_vae.discriminators.ensemble import DISCRIMINATOR_FOLDER
from hf_audio_vae.files import same_listing
from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.training.checkpoints import Checkpoints
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.objective import Objective
from hf_audio_vae.training.pickled_states import is_pickled, pickled_random_states, read_pickled_learners
from hf_audio_vae.training.states import random_states, read_learners, set_random_states, write_learners

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

    def load_state_dict(self, state: dict[str, Any], *, accept_changes: bool = False) -> None:
        """Restore the position; with `accept_changes`, begin an epoch if the batches would differ."""


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


@dataclass(frozen=True)
class Encoding:
    """Meaning of encoded data, which the weights of a network in training depend on.

    Args:
        weights (`str`): Fingerprint of the model that encoded the data, for latents with that of the statistics that
            normalise them; empty if no model did.
        classes (`list[str]`, *optional*): Name of each class label, if the training has class labels.
    """

    weights: str = ""
    classes: list[str] | None = None

    def check(self, checkpoint: Path, theirs: "Encoding") -> None:
        """Raise `ValueError` if the data of a checkpoint had another meaning. Earlier checkpoints do not state it."""
        if theirs.classes is not None and theirs.classes != self.classes:
            names, present = (", ".join(classes or ()) or "no class" for classes in (theirs.classes, self.classes))
            raise ValueError(
                f"{checkpoint} was trained with the classes {names}, and the data has {present}: its weights would "
                f"change their meaning; restore the data, or start a new run in another `--output_dir`."
            )
        parts = fingerprint_differences(theirs.weights, self.weights) if theirs.weights else []
        if parts == ["latent statistics"]:
            raise ValueError(
                f"{checkpoint} was trained on latents that other `latents_mean` and `latents_std` normalise: all "
                f"latents would have another scale; restore these values in the `config.json` of the autoencoder, or "
                f"start a new run in another `--output_dir`."
            )
        if parts:
            raise ValueError(
                f"{checkpoint} was trained on data that a model with other {' and '.join(parts)} encoded; restore the "
                f"data, or start a new run in another `--output_dir`."
            )


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
        contents (`dict[str, str]`): Checksum of the content of each data set and model that `recipe` or `validation`
            names.
        validation (`dict`): Values that decide the figures of a validation, JSON-serializable.
        encoding (`Encoding`): Meaning of the encoded data, which no option changes in a resumed run.
        accept_changes (`bool`): Resume although values of the recipe have changed.
        progress (`Progress`): Steps and metrics so far.
    """

    accelerator: Accelerator
    learners: dict[str, Learner]
    objective: Objective
    loader: ResumableLoader
    ema: EMA[Any]  # model with `save_pretrained` and `from_pretrained`
    checkpoints: Checkpoints
    recipe: dict[str, Any] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    encoding: Encoding = Encoding()
    accept_changes: bool = False
    progress: Progress = field(default_factory=Progress)
    saved_at: int = 0  # step of the last checkpoint
    validation_changed: bool = False  # since the resumed checkpoint

    @property
    def model(self) -> nn.Module:
        """The prepared network that the average follows."""
        return self.learners["model"].module

    def save_checkpoint(self, position: dict[str, Any] | None = None) -> Path:
        """Write `checkpoint-{step}`. Its `ema/` and `discriminator/` load like models. Every process calls this.

        Args:
            position (`dict`, *optional*): State of the loader; default its present one.
        """
        state = {
            "progress": asdict(self.progress),
            "ema_updates": self.ema.updates,
            "objective": self.objective.state_dict(),
            "loader": position or self.loader.state_dict(),
            "random": random_states(),
            "recipe": self.recipe,
            "contents": self.contents,
            "validation": self.validation,
            "encoding": asdict(self.encoding),
        }
        folder = self.checkpoints.save(self.progress.step, state, self._write)
        self.saved_at = self.progress.step
        logger.info(f"wrote {folder}")
        return folder

    def resume(self, checkpoint: Path) -> None:
        """Resume a checkpoint of the same run, bit for bit.

        Raises:
            ValueError: The recipe, the networks, the classes or the model of encoded data, or the number of processes
                differ from the checkpoint's.
        """
        state = self.checkpoints.read_state(checkpoint, more_processes=self.accept_changes)
        contents = state.get("contents", {})
        self._compare(checkpoint, state["recipe"], contents)
        self.validation_changed = self._compare_validation(checkpoint, state.get("validation", {}), contents)
        self.encoding.check(checkpoint, Encoding(**state.get("encoding", {})))
        self.progress = Progress(**state["progress"])
        self.saved_at = self.progress.step
        if self.validation_changed:  # a finished run would publish these figures as those of the new validation
            rows = self.progress.history
            self.progress.history = [row for row in rows if row["step"] != self.progress.step]
        self.objective.load_state_dict(state["objective"])
        self.loader.load_state_dict(state["loader"], accept_changes=self.accept_changes)
        given = {name: learner.hyperparameters() for name, learner in self.learners.items()}
        pickled, scaler = is_pickled(checkpoint), self.accelerator.scaler
        (read_pickled_learners if pickled else read_learners)(checkpoint, self.learners, scaler)
        for name, learner in self.learners.items():
            if rates := learner.changed_rates():
                logger.warning(
                    f"the schedule of the {name} is not that of {checkpoint}, since `max_train_steps` or its options "
                    f"have changed: the learning rate goes from {rates[0]:.3g} to {rates[1]:.3g}"
                )
        if self.accept_changes:
            for name, learner in self.learners.items():
                learner.set_hyperparameters(given[name])
        averaged = type(self.ema.model).from_pretrained(checkpoint, subfolder=EMA_FOLDER)
        self.ema.load(averaged)
        self.ema.updates = state["ema_updates"]
        # Last, because loading may draw random numbers.
        if state.get("random", pickled) is not None:  # a process that did not exist then keeps its seed
            process = self.accelerator.process_index
            set_random_states(pickled_random_states(checkpoint, process) if pickled else state["random"])
        logger.info(f"resumed from {checkpoint}")

    def _compare(self, checkpoint: Path, theirs: dict[str, Any], contents: dict[str, str]) -> None:
        """Compare the recipe with the checkpoint's. A data set may have moved, and options may have been added."""
        moved = self._moved(contents)
        changed = _changed(self.recipe, theirs, moved)
        if changed and not self.accept_changes:
            raise ValueError(
                f"{checkpoint} was made with other values of {', '.join(changed)}; resume with the same values, or "
                f"add `--accept_changes` to use the new values and keep the weights and the optimiser state."
            )
        shares = [recipe.get("held_out_share") or 0.0 for recipe in (theirs, self.recipe)]
        if shares[1] > shares[0] and "dataset_name" not in changed:
            raise ValueError(
                f"{checkpoint} was trained with `held_out_share` {theirs.get('held_out_share')}, and "
                f"{shares[1]:g} would hold out items that its weights were trained on; give no larger one, or start "
                f"a new run in another `--output_dir`."
            )
        if changed:
            logger.warning(f"other values than in {checkpoint}: {', '.join(changed)}")
        for name in sorted((self.contents.keys() & contents.keys()) - moved - set(changed) - self.validation.keys()):
            logger.warning(f"the files of `{name}` have changed since {checkpoint}; the run uses the new files")

    def _compare_validation(self, checkpoint: Path, theirs: dict[str, Any], contents: dict[str, str]) -> bool:
        """Say which options of the validation, or files that they name, have changed; return whether any have."""
        moved = self._moved(contents)
        other_files = (self.contents.keys() & contents.keys() & self.validation.keys()) - moved
        if changed := sorted({*_changed(self.validation, theirs, moved), *other_files}):
            logger.warning(
                f"the validation has changed since {checkpoint} ({', '.join(changed)}); its figures are not "
                f"comparable with those of earlier steps"
            )
        return bool(changed)

    def _moved(self, contents: dict[str, str]) -> set[str]:
        """Return the options whose files are those of the checkpoint, wherever they are."""
        shared = self.contents.keys() & contents.keys()
        return {name for name in shared if same_listing(self.contents[name], contents[name])}

    def _write(self, folder: Path) -> None:
        write_learners(folder, self.learners, self.accelerator.scaler)
        self.ema.model.save_pretrained(folder / EMA_FOLDER)
        if "discriminator" in self.learners:
            discriminator = self.accelerator.unwrap_model(self.learners["discriminator"].module)
            discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)


def _changed(ours: dict[str, Any], theirs: dict[str, Any], moved: set[str]) -> list[str]:
    return sorted(
        name
        for name, value in ours.items()
        if name in theirs and name not in moved and not _equal(value, theirs[name])
    )


def _equal(ours: Any, theirs: Any) -> bool:
    """Compare values of a recipe; a key that a version did not have yet is as one that is `None`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(_equal(ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys())
    return bool(ours == theirs)
