"""Steps, speed and resumption of the training loop, in real runs."""

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR
from torch.utils._python_dispatch import TorchDispatchMode

from hf_audio_vae.data import CropBatch, StreamLoader
from hf_audio_vae.files import listing_checksum
from hf_audio_vae.losses import TargetRate
from hf_audio_vae.training import loop
from hf_audio_vae.training.loop import fit
from hf_audio_vae.training.run import Encoding, Run
from tests.training.loops import RATE, TIMING, WEIGHTS, start


def test_resuming_with_another_recipe_is_refused(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out")
    run.recipe = {"learning_rate": 1e-3, "seed": 0}
    checkpoint = run.save_checkpoint()
    resumed = start(folder, tmp_path / "out")
    resumed.recipe = {"learning_rate": 2e-3, "seed": 0}
    with pytest.raises(ValueError, match="made with other values of learning_rate; "):
        resumed.resume(checkpoint)


def test_a_data_set_may_move_but_not_be_another(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = start(folder, tmp_path / "out")
    run.recipe, run.contents = {"dataset_name": "a", "removed": 1}, {"dataset_name": "1"}
    checkpoint = run.save_checkpoint()
    moved = start(folder, tmp_path / "out")
    moved.recipe, moved.contents = {"dataset_name": "b", "added": 2}, {"dataset_name": "1"}
    moved.resume(checkpoint)
    moved.contents = {"dataset_name": "2"}
    with pytest.raises(ValueError, match="other values of dataset_name; .*add `--accept_changes`"):
        moved.resume(checkpoint)
    assert not caplog.messages
    moved.accept_changes = True
    moved.learners = {}
    with caplog.at_level(logging.WARNING):
        moved.resume(checkpoint)
    assert f"other values than in {checkpoint}: dataset_name" in caplog.text
    moved.recipe["dataset_name"] = "a"
    with caplog.at_level(logging.WARNING):
        moved.resume(checkpoint)
    assert f"the files of `dataset_name` have changed since {checkpoint}" in caplog.text


def test_a_reordered_table_of_the_data_is_told(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "metadata.csv").write_text("file_name\n1.wav\n2.wav\n")
    run = start(folder, tmp_path / "out")
    run.recipe, run.contents = {"dataset_name": str(data)}, {"dataset_name": listing_checksum(str(data))}
    checkpoint = run.save_checkpoint()
    (data / "metadata.csv").write_text("file_name\n2.wav\n1.wav\n")
    resumed = start(folder, tmp_path / "out")
    resumed.recipe, resumed.contents = run.recipe, {"dataset_name": listing_checksum(str(data))}
    with caplog.at_level(logging.WARNING):
        resumed.resume(checkpoint)
    assert f"the files of `dataset_name` have changed since {checkpoint}" in caplog.text


def test_a_resumed_run_says_that_its_validation_has_changed(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = start(folder, tmp_path / "out")
    run.validation = {"validation_dataset_name": "a", "validation_seconds": 1.0}
    run.contents = {"validation_dataset_name": "1"}
    checkpoint = run.save_checkpoint()

    def said(name: str, seconds: float, content: str) -> str:
        caplog.clear()
        resumed = start(folder, tmp_path / "out")
        resumed.validation = {"validation_dataset_name": name, "validation_seconds": seconds}
        resumed.contents = {"validation_dataset_name": content}
        with caplog.at_level(logging.WARNING):
            resumed.resume(checkpoint)
        return caplog.text

    assert not said("moved", 1.0, "1")
    assert "has changed" in said("a", 1.0, "2")
    assert f"since {checkpoint} (validation_dataset_name, validation_seconds)" in said("other", 2.0, "2")
    assert "(validation_seconds); its figures are not comparable with those of earlier" in said("a", 2.0, "1")


def test_a_finished_run_is_validated_again_by_another_validation(folder: Path, tmp_path: Path) -> None:
    timing, figures = replace(TIMING, max_train_steps=2), []
    for name, error in (("easy", 1.0), ("easy", 2.0), ("hard", 3.0)):
        run = start(folder, tmp_path / "out")
        run.validation = {"validation_dataset_name": name}
        if figures:
            run.resume(tmp_path / "out/checkpoint-2")
        fit(run, timing=timing, validate=lambda step, error=error: {"error": error})
        figures.append(run.progress.history[-1])
    assert figures == [{"step": 2, "error": 1.0}, {"step": 2, "error": 1.0}, {"step": 2, "error": 3.0}]


def test_no_item_that_was_trained_on_is_held_out_after_a_resume(folder: Path, tmp_path: Path) -> None:
    def started(share: float | None, name: str = "a") -> Run:
        run = start(folder, tmp_path / "out")
        run.recipe, run.accept_changes = {"dataset_name": name, "held_out_share": share}, True
        return run

    for before, after in ((0.1, 0.2), (None, 0.1)):
        checkpoint = started(before).save_checkpoint()
        with pytest.raises(ValueError, match=f"`held_out_share` {before}, and {after} would hold out items that its"):
            started(after).resume(checkpoint)
        started(before).resume(checkpoint)
        started(after, "b").resume(checkpoint)
    started(0.1).resume(started(0.2).save_checkpoint())


def test_a_run_is_not_resumed_on_data_of_another_meaning(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out")
    run.encoding = Encoding("1a-2b", ["bird", "car"])
    checkpoint = run.save_checkpoint()

    def resumed(encoding: Encoding) -> Run:
        again = start(folder, tmp_path / "out")
        again.encoding, again.accept_changes = encoding, True
        again.resume(checkpoint)
        return again

    assert resumed(Encoding("1a-2b", ["bird", "car"])).encoding == run.encoding
    for classes, named in ((["car", "zebra"], "car, zebra"), (["car", "bird"], "car, bird"), ([], "no class")):
        with pytest.raises(ValueError, match=f"with the classes bird, car, and the data has {named}: its weights"):
            resumed(Encoding("1a-2b", classes))
    with pytest.raises(ValueError, match="data that a model with other weights encoded; restore the data"):
        resumed(Encoding("1c-2b", ["bird", "car"]))


def test_a_run_is_not_resumed_with_other_latent_statistics(folder: Path, tmp_path: Path) -> None:
    run, again = start(folder, tmp_path / "out"), start(folder, tmp_path / "out")
    run.encoding, again.encoding, again.accept_changes = Encoding("1a-2b-3c"), Encoding("1a-2b-4d"), True
    with pytest.raises(ValueError, match="other `latents_mean` and `latents_std` normalise: all latents would have"):
        again.resume(run.save_checkpoint())


def test_a_checkpoint_that_states_no_meaning_of_its_data_is_resumed(folder: Path, tmp_path: Path) -> None:
    checkpoint = start(folder, tmp_path / "out").save_checkpoint()
    run = start(folder, tmp_path / "out")
    run.encoding = Encoding("1a-2b", ["bird", "car"])
    run.resume(checkpoint)


def test_a_run_is_not_resumed_to_fewer_steps_than_it_has(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out")
    fit(run, timing=replace(TIMING, max_train_steps=5), validate=lambda step: {})
    resumed = start(folder, tmp_path / "out")
    resumed.resume(tmp_path / "out/checkpoint-5")
    with pytest.raises(ValueError, match="`max_train_steps` is 4, but the run to resume has 5 steps already; give"):
        fit(resumed, timing=replace(TIMING, max_train_steps=4), validate=lambda step: {})
    fit(resumed, timing=replace(TIMING, max_train_steps=5), validate=lambda step: {})  # is published again


def test_a_resumed_run_says_that_its_schedule_has_changed(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def falling(steps: int) -> Run:
        """A run whose learning rate falls to 0 in this number of steps."""
        run = start(folder, tmp_path / "out")
        prepared = run.learners["model"].lr_scheduler
        prepared.scheduler = LambdaLR(prepared.scheduler.optimizer, lambda step: 1 - step / steps)
        return run

    fit(falling(4), timing=replace(TIMING, max_train_steps=4), validate=lambda step: {})
    with caplog.at_level(logging.WARNING):
        falling(4).resume(tmp_path / "out/checkpoint-4")
        assert not caplog.messages
        falling(8).resume(tmp_path / "out/checkpoint-4")
    assert "`max_train_steps` or its options have changed: the learning rate goes from 0 to 0.0005" in caplog.text


def test_the_progress_bar_of_a_resumed_run_starts_at_its_step(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = start(folder, tmp_path / "out")
    fit(run, timing=replace(TIMING, max_train_steps=5), validate=lambda step: {})
    capsys.readouterr()
    resumed = start(folder, tmp_path / "out")
    resumed.resume(tmp_path / "out/checkpoint-5")
    fit(resumed, timing=TIMING, validate=lambda step: {})
    shown = capsys.readouterr().err
    assert "| 5/12 [" in shown
    assert "| 12/12 [" in shown
    assert "| 0/12 [" not in shown


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: self.now))

    def takes(self, seconds: float) -> Callable[[torch.Tensor, int], torch.Tensor]:
        """Move on by some seconds with every batch."""

        def spoil(loss: torch.Tensor, step: int) -> torch.Tensor:
            self.now += seconds
            return loss

        return spoil


def test_minutes_have_sixty_seconds(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = start(folder, tmp_path / "out", Clock(monkeypatch).takes(1.0))
    fit(run, timing=replace(TIMING, max_train_minutes=0.1), validate=lambda step: {})
    assert run.progress.step == 7, "the first step that ends after 6 s is the last"


def test_the_speed_counts_the_seconds_of_all_crops(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(folder, tmp_path / "out", Clock(monkeypatch).takes(0.1))
    logged: list[dict[str, float]] = []
    monkeypatch.setattr(run.accelerator, "log", lambda values, step: logged.append(values))
    fit(run, timing=TIMING, validate=lambda step: {})
    speeds = [values["audio_seconds_per_second"] for values in logged if "audio_seconds_per_second" in values]
    assert speeds == pytest.approx(2 * [(2 * 600 / RATE) / 0.1])


def test_the_bar_of_a_resumed_run_begins_at_its_step(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(start(folder, tmp_path / "out"), timing=replace(TIMING, max_train_steps=5), validate=lambda step: {})
    resumed = start(folder, tmp_path / "out")
    resumed.resume(tmp_path / "out/checkpoint-5")
    capsys.readouterr()
    fit(resumed, timing=TIMING, validate=lambda step: {})
    shown = capsys.readouterr().err
    assert " 5/12 " in shown and " 12/12 " in shown
    assert " 0/12 " not in shown


def test_a_control_gets_the_mean_of_the_batches_of_a_step(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out")
    run.accelerator.gradient_accumulation_steps = 2
    control = TargetRate(1000.0, frame_rate=RATE / 6)
    run.objective.weights = WEIGHTS | {"kl": control}
    kls: list[torch.Tensor] = []
    run.model.register_forward_hook(lambda model, inputs, output: kls.append(output.regularisers["kl"].detach()))
    fit(run, timing=replace(TIMING, max_train_steps=1), validate=lambda step: {})
    assert len(kls) == 2
    assert control.mean == pytest.approx(torch.stack(kls).mean(dim=0).tolist())


def test_every_batch_goes_to_the_device_of_the_model(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[torch.device] = []
    monkeypatch.setattr(CropBatch, "to", lambda batch, device: moved.append(device) or batch)
    run = start(folder, tmp_path / "out")
    fit(run, timing=TIMING, validate=lambda step: {})
    assert moved == 12 * [run.accelerator.device]


class ScalarReads(TorchDispatchMode):
    """Counts the operations that hand a tensor's value to Python, which on a GPU wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return function(*args, **kwargs or {})


class Ready:
    """Batches that have been read before."""

    epoch = 0

    def __init__(self, loader: StreamLoader) -> None:
        self.batches = list(itertools.islice(loader, 6))

    def __iter__(self):
        return iter(self.batches)

    def state_dict(self) -> dict[str, object]:
        return {}


@pytest.mark.parametrize("control", [1e-4, TargetRate(1000.0, frame_rate=RATE / 6)])
def test_a_step_reads_no_scalar_but_the_check_of_its_input(folder: Path, tmp_path: Path, control: object) -> None:
    run = start(folder, tmp_path / "out")
    run.objective.weights = WEIGHTS | {"kl": control}
    run.loader = Ready(run.loader)
    with ScalarReads() as reads:
        fit(run, timing=replace(TIMING, max_train_steps=6, logging_steps=10**9), validate=lambda step: {})
    assert reads.count == 6, "six steps, one check each; losses, norms and the KL are copied together"
