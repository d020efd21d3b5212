"""Checkpoint folders `checkpoint-{step}`, written atomically.

A checkpoint is written under a hidden name and renamed when it is complete. A dropped checkpoint gets a hidden name
before its files are deleted. A kill at any instant therefore leaves only complete checkpoints under their own names. A
replaced checkpoint stays complete under its hidden name until the new one has its name.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.logging import get_logger

logger = get_logger(__name__)
NAME = re.compile(r"checkpoint-(\d+)")


class Checkpoints:
    """Writes, limits and finds the checkpoints of a run.

    Args:
        accelerator (`accelerate.Accelerator`): Saves model, optimiser, scheduler and random states.
        output_dir (`Path`): Parent of the checkpoint folders.
        limit (`int`, *optional*): Number of newest checkpoints to keep; all if `None`.
    """

    def __init__(self, accelerator: Accelerator, output_dir: Path, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"`checkpoints_total_limit` is {limit}; keep at least 1, or use null to keep all.")
        self.accelerator = accelerator
        self.output_dir = output_dir
        self.limit = limit
        if accelerator.is_main_process:
            self._clean_hidden()
        accelerator.wait_for_everyone()

    def save(self, step: int, state: dict[str, Any], save_models: Callable[[Path], None]) -> Path:
        """Write `checkpoint-{step}`; every process calls this.

        Args:
            step (`int`): Optimiser steps done.
            state (`dict`): State of this process, JSON-serializable.
            save_models (`Callable`): Called on the main process with the folder; writes the models into it.

        Returns:
            `Path`: The complete folder.
        """
        final, partial = self._path(step), self._hidden_path(step, "partial")
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(partial))
        (partial / self._state_name).write_text(json.dumps(state))
        if self.accelerator.is_main_process:
            save_models(partial)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            if final.exists():
                final.rename(self._hidden_path(step, "replaced"))
            partial.rename(final)
            for old in self.all()[: -self.limit] if self.limit else []:
                old.rename(self._hidden_path(_step(old), "dropped"))
            self._clean_hidden()
        self.accelerator.wait_for_everyone()
        return final

    def read_state(self, checkpoint: Path) -> dict[str, Any]:
        """Return the state that this process passed to `save`.

        Raises:
            ValueError: The run's folder has later checkpoints, or this checkpoint has no state of this process.
        """
        later = [path.name for path in self.all() if _step(path) > _step(checkpoint)]
        if later and checkpoint.parent.resolve() == self.output_dir.resolve():
            raise ValueError(
                f"{checkpoint} is older than {', '.join(later)} in the same folder; move those away, or choose "
                f"another `--output_dir`."
            )
        state_file = checkpoint / self._state_name
        if not state_file.is_file():
            raise ValueError(f"{checkpoint} was not written by process {self.accelerator.process_index} of this run.")
        return json.loads(state_file.read_text())

    def load(self, checkpoint: Path) -> None:
        """Restore models, optimisers, schedulers and random states."""
        self.accelerator.load_state(str(checkpoint))

    def find(self, resume_from_checkpoint: str | None) -> Path | None:
        """Resolve `"latest"` or a path to a checkpoint; `None` starts a new run.

        Raises:
            ValueError: The path is not a checkpoint, or the argument is `None` and the folder has checkpoints of an
                earlier run.
        """
        if resume_from_checkpoint is None and self.all():
            raise ValueError(
                f"{self.output_dir} holds checkpoints of an earlier run; use `--resume_from_checkpoint latest`, "
                f"or choose another `--output_dir`."
            )
        if resume_from_checkpoint is None:
            return None
        if resume_from_checkpoint == "latest":
            if not self.all():
                logger.info(f"no checkpoint in {self.output_dir}: starting a new run")
            return self.all()[-1] if self.all() else None
        path = Path(resume_from_checkpoint)
        if not (path.is_dir() and NAME.fullmatch(path.name)):
            raise ValueError(f"{path} is not a `checkpoint-*` folder; name one, or use `latest`.")
        return path

    def all(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        folders = [path for path in self.output_dir.glob("checkpoint-*") if NAME.fullmatch(path.name)]
        return sorted(folders, key=_step)

    @property
    def _state_name(self) -> str:
        return f"trainer_state_{self.accelerator.process_index}.json"

    def _path(self, step: int) -> Path:
        return self.output_dir / f"checkpoint-{step}"

    def _hidden_path(self, step: int, state: str) -> Path:
        return self.output_dir / f".checkpoint-{step}.{state}"

    def _clean_hidden(self) -> None:
        """Restore checkpoints whose replacement did not finish, and delete all other hidden folders."""
        for path in self.output_dir.glob(".checkpoint-*.replaced"):
            final = self.output_dir / path.stem.removeprefix(".")
            if not final.exists():
                path.rename(final)
        for state in ("partial", "dropped", "replaced"):
            for path in self.output_dir.glob(f".checkpoint-*.{state}"):
                shutil.rmtree(path)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))
