"""Checkpoint folders `checkpoint-{step}`, written atomically and checked when they are read.

A checkpoint is written under a hidden name and renamed when it is complete. A dropped checkpoint gets a hidden name
before its files are deleted. A kill at any instant therefore leaves only complete checkpoints under their own names. A
replaced checkpoint stays complete under its hidden name until the new one has its name. `SHA256SUMS` is the last file
of a checkpoint to be written.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.logging import get_logger
from accelerate.utils import broadcast_object_list

from hf_audio_vae.files import as_write_error, check_manifest, settle, write_manifest
from hf_audio_vae.training.pickled_states import is_pickled

logger = get_logger(__name__)
STATE_FILE = "trainer_state_{}.json"
FIRST_STATE = STATE_FILE.format(0)
NAME = re.compile(r"checkpoint-(\d+)")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the complete checkpoints of a folder, oldest first."""
    return sorted((path for path in folder.glob("checkpoint-*") if NAME.fullmatch(path.name)), key=_step)


def is_continued(output_dir: Path, resume_from_checkpoint: str | None) -> bool:
    """Whether a run resumes from one of the checkpoints in its output folder."""
    if resume_from_checkpoint is None:
        return False
    if resume_from_checkpoint == "latest":
        return bool(checkpoints_in(output_dir))
    return Path(resume_from_checkpoint).resolve().parent == output_dir.resolve()


class Checkpoints:
    """Writes, limits and finds the checkpoints of a run.

    Args:
        accelerator (`accelerate.Accelerator`): Knows the other processes.
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

    def save(self, step: int, state: dict[str, Any], write: Callable[[Path], None]) -> Path:
        """Write `checkpoint-{step}`; every process calls this.

        Args:
            step (`int`): Optimiser steps done.
            state (`dict`): State of this process, JSON-serializable.
            write (`Callable`): Called on the main process with the folder; writes networks and optimisers into it.

        Returns:
            `Path`: The complete folder.

        Raises:
            OSError: The disk is full, or the folder cannot be written. The incomplete checkpoint is deleted, and
                older ones stay.
        """
        final, partial = self._path(step), self._hidden_path(step, "partial")
        try:
            if self.accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
            self._together(final, lambda: partial.mkdir(parents=True), main_process_only=True)
            self._together(final, lambda: (partial / self._state_name).write_text(json.dumps(state)))
            self._together(final, lambda: self._complete(partial, write), main_process_only=True)
            self._together(final, lambda: self._rename(partial, final), main_process_only=True)
        except BaseException:
            if self.accelerator.is_main_process:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        return final

    def _together(self, final: Path, action: Callable[[], object], *, main_process_only: bool = False) -> None:
        """Act on all processes or on the main one; raise an `OSError` of any process on all of them."""
        error: OSError | None = None
        if self.accelerator.is_main_process or not main_process_only:
            try:
                with as_write_error(final):
                    action()
            except OSError as caught:
                error = caught
        failed = torch.tensor([error is not None], dtype=torch.float32, device=self.accelerator.device)
        if any(self.accelerator.reduce(failed, "sum").tolist()):  # waits for all processes
            whole = self.all()
            remedy = f"{whole[-1].name} is complete: continue with `--resume_from_checkpoint latest`" if whole else ""
            raise OSError(f"{error or f'{final} cannot be written by another process'}. {remedy}".rstrip()) from error

    def _complete(self, partial: Path, write: Callable[[Path], None]) -> None:
        write(partial)
        settle(partial)
        write_manifest(partial)

    def _rename(self, partial: Path, final: Path) -> None:
        if final.exists():
            final.rename(self._hidden_path(_step(final), "replaced"))
        partial.rename(final)
        for old in self.all()[: -self.limit] if self.limit else []:
            old.rename(self._hidden_path(_step(old), "dropped"))
        self._clean_hidden()

    def read_state(self, checkpoint: Path, *, more_processes: bool = False) -> dict[str, Any]:
        """Return the state that this process passed to `save`.

        With `more_processes`, a process that did not exist then gets the state of the first, except its random state.

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
        if state_file.is_file():
            return json.loads(state_file.read_text())
        if not more_processes:
            raise ValueError(
                f"{checkpoint} has no state of process {self.accelerator.process_index}; resume with the number of "
                f"processes that wrote it, or add `--accept_changes`."
            )
        return json.loads((checkpoint / FIRST_STATE).read_text()) | {"random": None}

    def find(self, resume_from_checkpoint: str | None) -> Path | None:
        """Resolve `"latest"` or a path to a checkpoint that is whole; `None` starts a new run.

        Damaged checkpoints that are newer than the latest whole one are renamed to `damaged-checkpoint-{step}`.

        Raises:
            ValueError: The path is not a checkpoint or the checkpoint is damaged, or the folder has
                checkpoints of another run.
        """
        found: list[Path | ValueError | None] = [None]
        if self.accelerator.is_main_process:
            try:
                found = [self._find(resume_from_checkpoint)]
            except ValueError as error:
                found = [error]
        (result,) = broadcast_object_list(found)
        if isinstance(result, ValueError):
            raise result
        return result

    def _find(self, resume_from_checkpoint: str | None) -> Path | None:
        if self.all() and not is_continued(self.output_dir, resume_from_checkpoint):
            raise ValueError(
                f"{self.output_dir} holds checkpoints of an earlier run; use `--resume_from_checkpoint latest`, or "
                f"choose another `--output_dir`."
            )
        if resume_from_checkpoint is None:
            return None
        if resume_from_checkpoint == "latest":
            return self._latest_whole()
        path = Path(resume_from_checkpoint)
        if not (path.is_dir() and NAME.fullmatch(path.resolve().name)):
            raise ValueError(f"{path} is not a `checkpoint-*` folder; name one, or use `latest`.")
        try:
            _check(path)
        except ValueError as error:
            raise ValueError(f"{error} Resume from another checkpoint, or from `latest`.") from error
        return path

    def _latest_whole(self) -> Path | None:
        damaged: dict[Path, str] = {}
        for checkpoint in reversed(self.all()):
            try:
                _check(checkpoint)
            except ValueError as error:
                damaged[checkpoint] = str(error)
                continue
            for path, reason in damaged.items():
                aside = path.with_name(f"damaged-{path.name}")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
                logger.warning(f"{reason} Resuming from {checkpoint.name}; {path.name} is renamed to {aside.name}")
            return checkpoint
        if damaged:
            raise ValueError(
                f"all checkpoints in {self.output_dir} are damaged; the newest: {next(iter(damaged.values()))} Start "
                f"a new run in another `--output_dir`."
            )
        logger.info(f"no checkpoint in {self.output_dir}: starting a new run")
        return None

    def all(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        return checkpoints_in(self.output_dir)

    @property
    def _state_name(self) -> str:
        return STATE_FILE.format(self.accelerator.process_index)

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


def _check(checkpoint: Path) -> None:
    """Raise `ValueError` if a checkpoint is damaged. Those of version 0.1 have no checksums."""
    if not is_pickled(checkpoint):
        check_manifest(checkpoint)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.resolve().name.removeprefix("checkpoint-"))
