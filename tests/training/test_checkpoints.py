import contextlib
import logging
import os
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file

from hf_audio_vae.files import check_manifest
from hf_audio_vae.training.checkpoints import Checkpoints


@pytest.fixture
def accelerator() -> Accelerator:
    return Accelerator(cpu=True)


def whole(checkpoint: Path) -> bool:
    check_manifest(checkpoint)
    return {path.name for path in checkpoint.iterdir()} == {"SHA256SUMS", "trainer_state_0.json", "weights"}


def save(checkpoints: Checkpoints, step: int) -> Path:
    return checkpoints.save(step, {"step": step}, lambda folder: (folder / "weights").write_text(f"of step {step}"))


def test_the_newest_are_kept(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path, limit=2)
    for step in (2, 9, 10, 100):
        save(checkpoints, step)
    assert [path.name for path in checkpoints.all()] == ["checkpoint-10", "checkpoint-100"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    assert checkpoints.read_state(checkpoints.find("latest")) == {"step": 100}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("survived", range(20))
@pytest.mark.parametrize("step", [2, 1], ids=["new", "replaced"])
def test_a_kill_between_any_two_changes_leaves_only_whole_checkpoints(
    accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int, step: int
) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path, limit=1)
    save(checkpoints, 1)
    changes = 0

    def killing(change):
        def run(*arguments, **options):
            nonlocal changes
            if changes == survived:
                raise Killed
            changes += 1
            return change(*arguments, **options)

        return run

    with monkeypatch.context() as patch:
        for name in ("mkdir", "rename", "write_text", "chmod"):
            patch.setattr(Path, name, killing(getattr(Path, name)))
        for name in ("unlink", "rmdir", "replace"):
            patch.setattr(os, name, killing(getattr(os, name)))
        with contextlib.suppress(Killed):
            save(checkpoints, step)
    checkpoints = Checkpoints(accelerator, tmp_path, limit=1)  # the next run
    assert all(whole(path) for path in checkpoints.all())
    assert checkpoints.read_state(checkpoints.find("latest"))["step"] in (1, step)
    save(checkpoints, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]


def test_resuming_an_older_checkpoint_beside_later_ones_is_refused(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path)
    save(checkpoints, 5)
    save(checkpoints, 10)
    with pytest.raises(ValueError, match="is older than checkpoint-10"):
        checkpoints.read_state(tmp_path / "checkpoint-5")


def test_half_a_checkpoint_is_never_picked_up(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path)
    save(checkpoints, 1)
    shutil.copytree(tmp_path / "checkpoint-1", tmp_path / ".checkpoint-2.partial")
    assert checkpoints.find("latest") == tmp_path / "checkpoint-1"


def test_nothing_to_resume_is_none_and_a_wrong_path_an_error(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path)
    assert checkpoints.find("latest") is None
    with pytest.raises(ValueError, match="is not a `checkpoint-\\*` folder"):
        checkpoints.find(str(tmp_path))


def test_starting_anew_over_an_earlier_run_is_refused(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path)
    assert checkpoints.find(None) is None
    save(checkpoints, 1)
    with pytest.raises(ValueError, match="checkpoints of an earlier run"):
        checkpoints.find(None)


def test_resuming_a_checkpoint_of_another_folder_over_an_earlier_run_is_refused(
    accelerator: Accelerator, tmp_path: Path
) -> None:
    checkpoint = save(Checkpoints(accelerator, tmp_path / "other"), 1)
    checkpoints = Checkpoints(accelerator, tmp_path / "out")
    assert checkpoints.find(str(checkpoint)) == checkpoint
    assert checkpoints.read_state(checkpoint) == {"step": 1}
    save(checkpoints, 1)
    with pytest.raises(ValueError, match="checkpoints of an earlier run"):
        checkpoints.find(str(checkpoint))


def test_a_limit_below_one_is_refused(accelerator: Accelerator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep at least 1"):
        Checkpoints(accelerator, tmp_path, limit=0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("name", ["weights", "trainer_state_0.json", "SHA256SUMS"])
def test_a_damaged_newest_checkpoint_is_set_aside_for_the_newest_whole_one(
    accelerator: Accelerator,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    name: str,
) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path)
    for step in (1, 2, 3):
        save(checkpoints, step)
    damage(tmp_path / "checkpoint-3" / name)
    with pytest.raises(ValueError, match="checkpoint-3"):
        checkpoints.find(str(tmp_path / "checkpoint-3"))
    with caplog.at_level(logging.WARNING):
        found = checkpoints.find("latest")
    assert found == tmp_path / "checkpoint-2"
    assert checkpoints.read_state(found) == {"step": 2}
    (line,) = caplog.messages
    assert str(tmp_path / "checkpoint-3") in line
    assert "Resuming from checkpoint-2; checkpoint-3 is renamed to damaged-checkpoint-3" in line
    save(checkpoints, 3)
    assert checkpoints.find("latest") == tmp_path / "checkpoint-3"


def test_no_whole_checkpoint_is_an_error_and_no_new_run(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path)
    save(checkpoints, 1)
    cut(tmp_path / "checkpoint-1/weights")
    with pytest.raises(
        ValueError, match="all checkpoints in .* are damaged; the newest: .*checkpoint-1/weights is damaged"
    ):
        checkpoints.find("latest")
    assert (tmp_path / "checkpoint-1").is_dir()


def test_a_full_disk_leaves_the_older_checkpoint_and_nothing_else(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path)
    save(checkpoints, 1)
    weights = {"x": torch.zeros(1 << 16)}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, before[1]))  # fails like a full disk, in the middle of a file
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match="checkpoint-2 cannot be written: .*checkpoint-1 is complete: continue with"):
            checkpoints.save(2, {}, lambda folder: save_file(weights, folder / "model.safetensors"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    assert checkpoints.find("latest") == tmp_path / "checkpoint-1"
