"""What tests of files share: noise, names in a folder, errors, and runs in another process."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

DATA = Path(__file__).parents[2] / "data/held_out"
SPEECH = DATA / "speech_en_0890.flac"  # 16 kHz, mono, 5.3 s
RATE = 8000
FILE_VERBS = ("reconstruct", "encode", "stream")


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae")]


def names(folder: Path) -> set[str]:
    """Names of the files that are shown; hidden ones would be torn files or the record."""
    found = {path.name for path in folder.iterdir()} - {".hf-audio-vae.jsonl"}
    assert not any(".partial" in name for name in found)
    return found


def in_child(run: Callable[[], int], stderr: Path, stdout: int | None = None) -> int:
    """Run in a forked process; return its exit code, 99 for an exception."""
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stderr = os.fdopen(2, "w")
        if stdout is not None:
            os.dup2(stdout, 1)
        sys.stdout = os.fdopen(1, "w")
        code = 99
        try:
            code = run()
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
