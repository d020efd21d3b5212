import contextlib
import os
import shutil
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from hf_audio_vae.training.checkpoints import Checkpoints


@pytest.fixture
def accelerator() -> Accelerator:
    accelerator = Accelerator(cpu=True)
    accelerator.prepare(torch.nn.Linear(2, 2))
    return accelerator


def whole(checkpoint: Path) -> bool:
    names = {"model.safetensors", "random_states_0.pkl", "trainer_state_0.json", "mark"}
    return names <= {path.name for path in checkpoint.iterdir()}


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(step, {"step": step}, lambda folder: (folder / "mark").touch())


def test_the_newest_are_kept(accelerator: Accelerator, tmp_path: Path) -> None:
    checkpoints = Checkpoints(accelerator, tmp_path, limit=2)
    for step in (2, 9, 10, 100):
        save(checkpoints, step)
    assert [path.name for path in checkpoints.all()] == ["checkpoint-10", "checkpoint-100"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-100"]
    assert checkpoints.read_state(checkpoints.find("latest")) == {"step": 100}


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("survived", range(14))
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
        for name in ("mkdir", "rename", "write_text", "touch"):
            patch.setattr(Path, name, killing(getattr(Path, name)))
        for name in ("unlink", "rmdir"):
            patch.setattr(os, name, killing(getattr(os, name)))
        patch.setattr(torch, "save", killing(torch.save))
        with contextlib.suppress(Killed):
            save(checkpoints, step)
    checkpoints = Checkpoints(accelerator, tmp_path, limit=1)  # the next run
    assert all(whole(path) for path in checkpoints.all())
    assert checkpoints.read_state(checkpoints.find("latest"))["step"] in (1, step)
    checkpoints.load(checkpoints.find("latest"))
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


def test_a_limit_below_one_is_refused(accelerator: Accelerator, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep at least 1"):
        Checkpoints(accelerator, tmp_path, limit=0)
