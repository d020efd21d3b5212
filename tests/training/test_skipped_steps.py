"""Steps that are skipped, since a loss or a gradient is not finite."""

import itertools
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import io
from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.losses import HingeLoss, TargetRate
from hf_audio_vae.training.autoencoder.objective import Adversary
from hf_audio_vae.training.ema import EMA
from hf_audio_vae.training.learner import Learner
from hf_audio_vae.training.loop import NonFiniteLossError, fit
from tests.training.loops import RATE, TIMING, WEIGHTS, finite, overflow, start


def test_a_loss_that_is_not_finite_skips_the_step_and_names_the_items(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io, "HIGHEST_PEAK", math.inf)
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
