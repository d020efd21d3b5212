"""Training in fp16 on a CPU, with the gradient scaler that accelerate would make on a GPU."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hf_audio_vae.training.loop import fit
from hf_audio_vae.training.run import Run
from tests.training.loops import TIMING, finite, start

Weights = dict[str, torch.Tensor]


def weights(run: Run) -> Weights:
    return {name: weight.clone() for name, weight in run.model.state_dict().items()}


def train(run: Run, monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Take the steps in the precision of a scaler, if the run has one: accelerate itself refuses fp16 on a CPU."""
    is_half = run.accelerator.scaler is not None
    # The cache of casts would hold the weights of the first step until the block ends.
    precision = torch.autocast("cpu", torch.float16, enabled=is_half, cache_enabled=False)
    with monkeypatch.context() as patch, precision:
        if is_half:
            patch.setattr(run.accelerator, "native_amp", True)
            patch.setattr(run.accelerator.state, "_mixed_precision", "fp16")
        timing = replace(TIMING, checkpointing_steps=6, max_skipped_steps=40)
        fit(run, timing=timing, validate=lambda step: {})
    assert run.progress.step == 12
    assert finite(run.model) and finite(run.ema.model)
    return weights(run)


def distance(a: Weights, b: Weights) -> float:
    return float(sum((a[name] - b[name]).square().sum() for name in a).sqrt())


@pytest.mark.slow
def test_half_precision_moves_the_weights_as_single_precision_does(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    single, half = (
        start(folder, tmp_path / name, scaler=scaler)
        for name, scaler in (("single", None), ("half", torch.amp.GradScaler("cpu", init_scale=64.0)))
    )
    before = weights(single)
    single_weights, half_weights = train(single, monkeypatch), train(half, monkeypatch)
    assert half.progress.skipped_steps == 0
    assert all(weight.dtype == torch.float32 for weight in half_weights.values())
    # fp16 has 11 bits; gradients that are not unscaled before they are clipped would move the weights 1/64 as far.
    assert 0 < distance(half_weights, single_weights) < 0.05 * distance(before, single_weights)


@pytest.mark.slow
def test_a_run_in_half_precision_resumes_identically_with_its_scale(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def new(name: str) -> Run:
        return start(
            folder, tmp_path / name, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**40, growth_interval=3)
        )

    whole = new("whole")
    expected = train(whole, monkeypatch)
    assert whole.progress.skipped_steps > 0, "the first gradients overflow"
    resumed = new("resumed")
    resumed.resume(tmp_path / "whole/checkpoint-6")
    assert resumed.accelerator.scaler.get_scale() < 2.0**40
    assert distance(train(resumed, monkeypatch), expected) == 0
    assert resumed.accelerator.scaler.get_scale() == whole.accelerator.scaler.get_scale()
    assert resumed.progress.skipped_steps == whole.progress.skipped_steps
