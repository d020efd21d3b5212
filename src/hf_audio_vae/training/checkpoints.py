"""Folders `checkpoint-{step}`, each either whole or not there.

A checkpoint is written under a hidden name and renamed when it is complete; one that is dropped gets a hidden name
before its files are deleted. A kill at any instant therefore leaves only whole checkpoints under their own names. One
that is replaced is whole, too, under its hidden name, until its successor has taken its place.
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
        output_dir (`Path`): Where the folders go.
        limit (`int`, *optional*): Keep this many, the newest; all if `None`.
    """

    def __init__(self, accelerator: Accelerator, output_dir: Path, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"`checkpoints_total_limit` is {limit}; keep at least 1, or all with null.")
        self.accelerator = accelerator
        self.output_dir = output_dir
        self.limit = limit
        if accelerator.is_main_process:
            self._tidy()
        accelerator.wait_for_everyone()

    def save(self, step: int, state: dict[str, Any], save_models: Callable[[Path], None]) -> Path:
        """Write `checkpoint-{step}`; every process calls this.

        Args:
            step (`int`): Optimiser steps done.
            state (`dict`): This process's state, fit for JSON.
            save_models (`Callable`): Writes what else the main process keeps into the folder it is given.

        Returns:
            `Path`: The finished folder.
        """
        final, partial = self._path(step), self._hidden(step, "partial")
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
                final.rename(self._hidden(step, "replaced"))
            partial.rename(final)
            for old in self.all()[: -self.limit] if self.limit else []:
                old.rename(self._hidden(_step(old), "dropped"))
            self._tidy()
        self.accelerator.wait_for_everyone()
        return final

    def read_state(self, checkpoint: Path) -> dict[str, Any]:
        """Return what this process passed to `save`.

        Raises:
            ValueError: There are later checkpoints in the run's folder, or this process has no part in this one.
        """
        later = [path.name for path in self.all() if _step(path) > _step(checkpoint)]
        if later and checkpoint.parent.resolve() == self.output_dir.resolve():
            raise ValueError(
                f"{checkpoint} is older than {', '.join(later)} beside it; move those away, or choose another "
                f"`--output_dir`."
            )
        state_file = checkpoint / self._state_name
        if not state_file.is_file():
            raise ValueError(f"{checkpoint} was not written by process {self.accelerator.process_index} of this run.")
        return json.loads(state_file.read_text())

    def load(self, checkpoint: Path) -> None:
        """Restore models, optimisers, schedulers and random states."""
        self.accelerator.load_state(str(checkpoint))

    def find(self, resume_from_checkpoint: str | None) -> Path | None:
        """Resolve `"latest"` or a path to a checkpoint; `None` means to start anew.

        Raises:
            ValueError: A path that is not a checkpoint; or nothing is to be resumed, but the folder holds checkpoints
                of an earlier run.
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
                logger.info(f"no checkpoint in {self.output_dir}: starting anew")
            return self.all()[-1] if self.all() else None
        path = Path(resume_from_checkpoint)
        if not (path.is_dir() and NAME.fullmatch(path.name)):
            raise ValueError(f"{path} is not a `checkpoint-*` folder; name one, or use `latest`.")
        return path

    def all(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        folders = [path for path in self.output_dir.glob("checkpoint-*") if NAME.fullmatch(path.name)]
        return sorted(folders, key=_step)

    @property
    def _state_name(self) -> str:
        return f"trainer_state_{self.accelerator.process_index}.json"

    def _path(self, step: int) -> Path:
        return self.output_dir / f"checkpoint-{step}"

    def _hidden(self, step: int, state: str) -> Path:
        return self.output_dir / f".checkpoint-{step}.{state}"

    def _tidy(self) -> None:
        """Bring back what was to be replaced and was not, delete all else that is hidden."""
        for path in self.output_dir.glob(".checkpoint-*.replaced"):
            final = self.output_dir / path.stem.removeprefix(".")
            if not final.exists():
                path.rename(final)
        for state in ("partial", "dropped", "replaced"):
            for path in self.output_dir.glob(f".checkpoint-*.{state}"):
                shutil.rmtree(path)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))
