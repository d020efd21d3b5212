"""Runs that end early: by signals, by their data, by the clock."""

import itertools
import logging
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hf_audio_vae.data import StreamLoader, TooManyBadItemsError
from hf_audio_vae.training.interruption import Interrupted
from hf_audio_vae.training.loop import Timing, fit
from tests.training.loops import TIMING, start


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    def send(loss: torch.Tensor, step: int) -> torch.Tensor:
        if step == 3:
            os.kill(os.getpid(), number)
        return loss

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    run = start(folder, tmp_path / "out", send)
    with pytest.raises(Interrupted, match=f"{number.name} ended the run at step 4; continue with") as raised:
        fit(run, timing=TIMING, validate=lambda step: {})
    assert raised.value.number == number
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-4"]


def test_a_second_ctrl_c_ends_the_run_at_once(folder: Path, tmp_path: Path) -> None:
    def send(loss: torch.Tensor, step: int) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return loss

    with pytest.raises(KeyboardInterrupt) as raised:
        fit(start(folder, tmp_path / "out", send), timing=TIMING, validate=lambda step: {})
    assert not isinstance(raised.value, Interrupted)


def test_a_signal_aborts_a_validation_which_is_made_up_for_on_resume(folder: Path, tmp_path: Path) -> None:
    validated: list[int] = []

    def validate(step: int) -> dict[str, float]:
        if step == 4 and 4 not in validated:
            validated.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return {"step_squared": step**2}

    timing = replace(TIMING, validation_steps=4)
    with pytest.raises(Interrupted, match="step 4"):
        fit(start(folder, tmp_path / "out"), timing=timing, validate=validate)
    assert validated == [4]
    resumed = start(folder, tmp_path / "out")
    resumed.resume(tmp_path / "out/checkpoint-4")
    fit(resumed, timing=timing, validate=validate)
    assert [row["step"] for row in resumed.progress.history] == [0, 4, 8, 12]


def test_a_data_set_that_fails_leaves_a_checkpoint_of_the_last_step(folder: Path, tmp_path: Path) -> None:
    straight = start(folder, tmp_path / "straight")
    fit(straight, timing=TIMING, validate=lambda step: {})
    run = start(folder, tmp_path / "out", lambda loss, step: loss if step < 7 else vanish(loss))

    def vanish(loss: torch.Tensor) -> torch.Tensor:
        folder.rename(folder.with_name("elsewhere"))
        return loss

    with pytest.raises((ValueError, TooManyBadItemsError)):
        fit(run, timing=replace(TIMING, max_train_steps=10**9), validate=lambda step: {})
    folder.with_name("elsewhere").rename(folder)
    (checkpoint,) = (tmp_path / "out").iterdir()
    resumed = start(folder, tmp_path / "out")
    resumed.resume(checkpoint)
    assert resumed.progress.step == int(checkpoint.name.split("-")[1]) >= 8
    fit(resumed, timing=TIMING, validate=lambda step: {})
    weights = zip(resumed.model.parameters(), straight.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


class Short(StreamLoader):
    """Batches that end."""

    def __iter__(self):
        return itertools.islice(super().__iter__(), 3)


def test_a_stream_that_ends_is_an_error_with_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out")
    run.loader = Short(run.loader.stream)
    with pytest.raises(ValueError, match="the training data ended after step 3"):
        fit(run, timing=TIMING, validate=lambda step: {})
    assert (tmp_path / "out/checkpoint-3").is_dir()


def test_a_run_stops_when_its_time_is_up(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = start(folder, tmp_path / "out")
    timing = Timing(10**9, 10**9, 10**9, 10**9, 1.0, 3, max_train_minutes=0.02)
    with caplog.at_level(logging.INFO):
        fit(run, timing=timing, validate=lambda step: {"si_sdr_db": 1.0})
    assert "`max_train_minutes` 0.02 is reached" in caplog.text
    assert 0 < run.progress.step < 10**9
    assert [row["step"] for row in run.progress.history] == [0, run.progress.step]
    assert (tmp_path / f"out/checkpoint-{run.progress.step}").is_dir()
