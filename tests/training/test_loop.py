"""What happens when a loss is not finite, in real runs."""

import itertools
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from accelerate import Accelerator
from torch.utils._python_dispatch import TorchDispatchMode

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data import CropBatch, CropStream, StreamLoader, TooManyBadItemsError, load_audio_stream
from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.losses import HingeLoss, TargetRate, WaveformL1Loss
from hf_audio_vae.training import loop
from hf_audio_vae.training.autoencoder.objective import Adversary, AutoencoderObjective
from hf_audio_vae.training.checkpoints import Checkpoints
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.interruption import Interrupted
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.loop import NonFiniteLossError, Timing, fit
from hf_audio_vae.training.objective import StepLosses
from hf_audio_vae.training.run import Run

RATE = 8000
WEIGHTS = {"waveform_l1": 1.0, "kl": 1e-4}
TIMING = Timing(
    max_train_steps=12,
    checkpointing_steps=100,
    validation_steps=100,
    logging_steps=5,
    max_grad_norm=1.0,
    max_skipped_steps=3,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight files of noise."""
    path = tmp_path / "sound"
    path.mkdir()
    generator = np.random.default_rng(0)
    for i in range(8):
        samples = generator.normal(0, 0.1, RATE // 4).astype(np.float32)
        soundfile.write(path / f"{i}.wav", samples, RATE, "FLOAT")
    return path


def overflow(path: Path) -> None:
    """Replace a file by one that is finite, but so loud that no loss on it is."""
    soundfile.write(path, np.full(RATE // 4, 3e38, dtype=np.float32), RATE, "FLOAT")


class Spoilt(AutoencoderObjective):
    """An objective whose loss is changed on the way to the loop."""

    spoil: Callable[[torch.Tensor, int], torch.Tensor]
    spoilt = "model"

    def __call__(self, batch, step: int) -> StepLosses:
        made = super().__call__(batch, step)
        return replace(made, losses=made.losses | {self.spoilt: self.spoil(made.losses[self.spoilt], step)})


def start(
    folder: Path, out: Path, spoil: Callable = lambda loss, step: loss, scaler: torch.amp.GradScaler | None = None
) -> Run:
    accelerator = Accelerator(cpu=True, step_scheduler_with_optimizer=False)
    accelerator.scaler = scaler
    torch.manual_seed(0)
    model = WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    stream = CropStream(
        load_audio_stream(str(folder)), sampling_rate=RATE, audio_channels=1, crop_length=600, batch_size=2, seed=0
    )
    ema = EMA(model, 0.9)
    learner = Learner(*accelerator.prepare(model, optimizer, scheduler))
    objective = Spoilt(learner.module, {"waveform_l1": WaveformL1Loss()}, WEIGHTS)
    objective.spoil = spoil
    return Run(accelerator, {"model": learner}, objective, StreamLoader(stream), ema, Checkpoints(accelerator, out))


def finite(model: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_a_loss_that_is_not_finite_skips_the_step_and_names_the_items(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overflow(folder / "3.wav")
    run = start(folder, tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        fit(run, timing=TIMING, validate=lambda step: {})
    assert run.progress.step == 12, "skipped steps do not count"
    assert run.progress.skipped_steps in (3, 4), "12 good steps are four epochs of four batches, one of them bad"
    assert finite(run.model)
    assert finite(run.ema.model)
    warnings = [record.getMessage() for record in caplog.records if "the step is skipped" in record.getMessage()]
    assert len(warnings) == run.progress.skipped_steps
    assert all("3.wav" in message for message in warnings)


def test_too_many_in_a_row_end_the_run_with_a_usable_checkpoint(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out", lambda loss, step: loss if step < 5 else loss * float("nan"))
    with pytest.raises(NonFiniteLossError, match="3 consecutive steps.*checkpoint-5"):
        fit(run, timing=TIMING, validate=lambda step: {})
    checkpoint = tmp_path / "out/checkpoint-5"
    assert finite(WaveformVAE.from_pretrained(checkpoint, subfolder="ema"))
    resumed = start(folder, tmp_path / "out")
    resumed.resume(checkpoint)
    fit(resumed, timing=TIMING, validate=lambda step: {})
    assert resumed.progress.step == 12
    assert resumed.progress.skipped_steps == 3


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


def test_a_run_is_not_resumed_to_fewer_steps_than_it_has(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out")
    fit(run, timing=replace(TIMING, max_train_steps=5), validate=lambda step: {})
    resumed = start(folder, tmp_path / "out")
    resumed.resume(tmp_path / "out/checkpoint-5")
    with pytest.raises(ValueError, match="`max_train_steps` is 4, but the run to resume has 5 steps already; give"):
        fit(resumed, timing=replace(TIMING, max_train_steps=4), validate=lambda step: {})
    fit(resumed, timing=replace(TIMING, max_train_steps=5), validate=lambda step: {})  # is published again


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


def test_a_gradient_that_is_not_finite_skips_the_step(folder: Path, tmp_path: Path) -> None:
    def steep(loss: torch.Tensor, step: int) -> torch.Tensor:
        return loss + (loss - loss.detach()).abs().sqrt()  # adds 0, infinitely steep

    run = start(folder, tmp_path / "out", steep)
    run.ema = EMA(WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE), 0.9)  # any other weights
    before = [p.clone() for model in (run.model, run.ema.model) for p in model.parameters()]
    with pytest.raises(NonFiniteLossError):
        fit(run, timing=TIMING, validate=lambda step: {})
    after = [p for model in (run.model, run.ema.model) for p in model.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert run.ema.updates == 0


def test_a_run_stops_when_its_time_is_up(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = start(folder, tmp_path / "out")
    timing = Timing(10**9, 10**9, 10**9, 10**9, 1.0, 3, max_train_minutes=0.02)
    with caplog.at_level(logging.INFO):
        fit(run, timing=timing, validate=lambda step: {"si_sdr_db": 1.0})
    assert "`max_train_minutes` 0.02 is reached" in caplog.text
    assert 0 < run.progress.step < 10**9
    assert [row["step"] for row in run.progress.history] == [0, run.progress.step]
    assert (tmp_path / f"out/checkpoint-{run.progress.step}").is_dir()


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


def test_a_step_that_the_gradient_scaler_skips_moves_nothing_and_is_said(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = itertools.count()

    def steep_at_first(loss: torch.Tensor, step: int) -> torch.Tensor:
        return loss + (loss - loss.detach()).abs().sqrt() if next(calls) < 2 else loss

    run = start(folder, tmp_path / "out", steep_at_first, torch.amp.GradScaler("cpu", init_scale=16.0))
    with caplog.at_level(logging.INFO):
        fit(run, timing=replace(TIMING, max_train_steps=1), validate=lambda step: {})
    assert run.progress.skipped_steps == 2
    said = [text for text in caplog.messages if "gradients overflow in fp16; the step is skipped" in text]
    assert [text.rpartition(" ")[2] for text in said] == ["8", "4"], "the scale, halved each time"
    assert run.ema.updates == 1
    assert run.learners["model"].lr_scheduler.scheduler.last_epoch == 1
    assert run.accelerator.scaler.get_scale() == 4.0, "half of it after each overflow"
    assert finite(run.model)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_extreme_sound_skips_no_step(folder: Path, tmp_path: Path, precision: str) -> None:
    noise = np.random.default_rng(0).normal(0, 1, RATE // 4)
    for name, samples in enumerate((0 * noise, 0 * noise + 0.5, np.sign(noise), 1e3 * noise, 1e-30 * noise)):
        soundfile.write(folder / f"{name}.wav", samples.astype(np.float32), RATE, "FLOAT")
    run = start(folder, tmp_path / "out")
    fit_in = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with fit_in:
        fit(run, timing=TIMING, validate=lambda step: {})
    assert (run.progress.step, run.progress.skipped_steps) == (12, 0)
    assert finite(run.model) and finite(run.ema.model)


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


@pytest.mark.parametrize("spoilt", ["model", "discriminator"])
def test_when_one_network_cannot_step_neither_does(folder: Path, tmp_path: Path, spoilt: str) -> None:
    run = start(folder, tmp_path / "out", lambda loss, step: loss * float("nan"))
    judge = DiscriminatorEnsemble(1, multi_scale_stft={"hidden_channels": 4, "window_lengths": (64,)})
    optimizer = torch.optim.SGD(judge.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    run.learners["discriminator"] = Learner(*run.accelerator.prepare(judge, optimizer, scheduler))
    run.objective.adversary = Adversary(judge, HingeLoss())
    run.objective.weights = WEIGHTS | {"adversarial": 1.0, "feature_matching": 1.0}
    run.objective.spoilt = spoilt
    networks = [learner.module for learner in run.learners.values()]
    before = [p.clone() for network in networks for p in network.parameters()]
    with pytest.raises(NonFiniteLossError):
        fit(run, timing=TIMING, validate=lambda step: {})
    after = [p for network in networks for p in network.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


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


def test_a_skipped_step_teaches_the_objective_nothing(folder: Path, tmp_path: Path) -> None:
    run = start(folder, tmp_path / "out", lambda loss, step: loss * float("nan"))
    control = TargetRate(1000.0, frame_rate=RATE / 6)
    run.objective.weights = WEIGHTS | {"kl": control}
    with pytest.raises(NonFiniteLossError):
        fit(run, timing=TIMING, validate=lambda step: {})
    assert control.mean is None
    run.objective.spoil = lambda loss, step: loss
    fit(run, timing=TIMING, validate=lambda step: {})
    assert control.mean is not None
