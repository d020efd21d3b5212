"""The script as users run it, in processes of its own."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from hf_audio_vae import WaveformVAE
from hf_audio_vae.models import load_autoencoder
from tests.training.runs import (
    REPO,
    command,
    environment,
    equal,
    published_weights,
    run,
    trained_weights,
    write_recipe,
)

# `accelerate launch --cpu --num_processes 2` starts a single process: on CPUs it leaves launching to others.
TWO_PROCESSES = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def kill_when(arguments: list[str], ready: Path) -> None:
    """Start a run and kill it, without a chance to clean up, as soon as a path exists."""
    process = subprocess.Popen(
        arguments, env=environment(), cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 100
    while not ready.exists():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An undisturbed run, of 8 steps on shuffled streams with workers: (recipe, output folder)."""
    folder = tmp_path_factory.mktemp("straight")
    recipe = write_recipe(folder, dataloader_num_workers=2, report_to="tensorboard")
    finished = run(command(recipe, folder / "out"))
    assert finished.returncode == 0, finished.stderr
    return recipe, folder / "out"


def test_the_result_is_a_pretrained_model_with_recipe_metrics_and_card(straight: tuple[Path, Path]) -> None:
    recipe, out = straight
    model = load_autoencoder(out)
    assert isinstance(model, WaveformVAE)
    assert equal(model.state_dict(), published_weights(out))
    assert not equal(published_weights(out), trained_weights(out, 8)), "what is published is the average"
    used = yaml.safe_load((out / "recipe.yaml").read_text())
    assert used["model"] == yaml.safe_load(recipe.read_text())["model"] | {"causal": False}
    history = json.loads((out / "metrics.json").read_text())
    assert [row["step"] for row in history] == [0, 8]
    card = (out / "README.md").read_text()
    assert f"{history[-1]['si_sdr_db']:.3f}" in card
    assert f"{history[-1]['multi_resolution_stft']:.3f}" in card


def test_trackers_get_numbers_sound_and_pictures(straight: tuple[Path, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = (straight[1] / "logs/hf-audio-vae").glob("events*")
    log = EventAccumulator(str(events))
    log.Reload()
    tags = log.Tags()
    assert {"loss", "kl", "waveform_l1", "validation/si_sdr_db", "learning_rate"} <= set(tags["scalars"])
    assert len(log.Scalars("loss")) == 4
    assert {tag.split("/")[-1] for tag in tags["audio"]} == {"original", "reconstruction"}
    assert any(tag.endswith("/spectrogram") for tag in tags["images"])


def test_resume_after_a_kill_is_bit_equal(straight: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, out = straight
    kill_when(command(recipe, tmp_path), tmp_path / "checkpoint-4")
    assert not (tmp_path / "metrics.json").exists()
    finished = run(command(recipe, tmp_path, "--resume_from_checkpoint", "latest"))
    assert "resumed from" in finished.stderr, finished.stderr
    assert equal(trained_weights(tmp_path, 8), trained_weights(out, 8))
    assert equal(published_weights(tmp_path), published_weights(out))
    optimizers = [torch.load(folder / "checkpoint-8/optimizer.bin") for folder in (tmp_path, out)]
    moments = [[state["exp_avg_sq"] for state in o["state"].values()] for o in optimizers]
    assert all(torch.equal(a, b) for a, b in zip(*moments, strict=True))


def test_a_kill_at_any_instant_leaves_a_usable_checkpoint(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, checkpointing_steps=1, max_train_steps=10_000, checkpoints_total_limit=2)
    out = tmp_path / "out"
    chance = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen(
            command(recipe, out, "--resume_from_checkpoint", "latest"),
            env=environment(),
            cwd=REPO,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        before = set(out.glob("checkpoint-*"))
        while not set(out.glob("checkpoint-*")) - before:
            assert process.poll() is None, "a checkpoint could not be resumed"
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1.0))
        process.send_signal(signal.SIGKILL)
        process.wait()
        whole = sorted(out.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
        assert 1 <= len(whole) <= 3  # the limit, and one that was being replaced
        for checkpoint in whole:
            json.loads((checkpoint / "trainer_state_0.json").read_text())
            WaveformVAE.from_pretrained(checkpoint, subfolder="ema")
            torch.load(checkpoint / "optimizer.bin")


def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    steps = 20
    recipe = write_recipe(tmp_path, max_train_steps=steps, checkpointing_steps=steps, learning_rate=3e-4)
    options = ("--train_batch_size", "2", "--gradient_accumulation_steps", "2")
    two = run(command(recipe, tmp_path / "two", *options, launcher=TWO_PROCESSES))
    one = run(command(recipe, tmp_path / "one", "--train_batch_size", "8"))
    assert two.returncode == one.returncode == 0, two.stderr + one.stderr
    assert (tmp_path / f"two/checkpoint-{steps}/trainer_state_1.json").exists(), "there was a second process"
    ours, theirs = trained_weights(tmp_path / "two", steps), trained_weights(tmp_path / "one", steps)
    for name, weight in ours.items():
        # Sums of another order differ by float32 rounding, 1e-7; 20 steps of Adam at 3e-4 let it grow tenfold.
        torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-5)


def test_two_processes_skip_a_step_together(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    noise = np.random.default_rng(0)
    for i in range(9):
        loud = np.full(2000, 3e38)  # finite, but no loss on it is
        samples = loud if i == 3 else noise.normal(0, 0.1, 2000)
        soundfile.write(tmp_path / f"sound/{i}.wav", samples.astype(np.float32), 8000, "FLOAT")
    recipe = write_recipe(tmp_path, dataset_name=str(tmp_path / "sound"), train_batch_size=1, checkpointing_steps=8)
    options = ("--gradient_accumulation_steps", "2")
    finished = run(command(recipe, tmp_path / "out", *options, launcher=TWO_PROCESSES))
    assert finished.returncode == 0, finished.stderr
    states = [json.loads((tmp_path / f"out/checkpoint-8/trainer_state_{rank}.json").read_text()) for rank in (0, 1)]
    skipped = [state["progress"]["skipped_steps"] for state in states]
    assert skipped[0] == skipped[1] > 0
    assert all(bool(torch.isfinite(weight).all()) for weight in trained_weights(tmp_path / "out", 8).values())


def test_wrong_recipes_are_one_message_and_exit_code_2(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, max_train_steps="five", learning_rat=1)
    finished = run(command(recipe, tmp_path / "out"))
    assert finished.returncode == 2
    assert "max_train_steps" in finished.stderr
    assert "learning_rat:" in finished.stderr
    assert "Traceback" not in finished.stderr
