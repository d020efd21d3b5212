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
from safetensors.torch import load_file

from hf_audio_vae import WaveformVAE
from hf_audio_vae.discriminators import load_discriminators
from hf_audio_vae.files import check_manifest
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from tests.training.runs import (
    GAME,
    RECIPE,
    REPO,
    SCRIPT,
    TWO_PROCESSES,
    command,
    environment,
    equal,
    kill_when,
    published_card,
    published_weights,
    run,
    trained_weights,
    write_recipe,
)

# `accelerate launch --cpu --num_processes 2` starts a single process: on CPUs it leaves launching to others.


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An undisturbed run, of 8 steps on shuffled streams with workers: (recipe, output folder)."""
    folder = tmp_path_factory.mktemp("straight")
    recipe = write_recipe(folder, dataloader_num_workers=2, report_to="tensorboard")
    finished = run(command(recipe, folder / "out"))
    assert finished.returncode == 0, finished.stderr
    return recipe, folder / "out"


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An undisturbed run of 8 steps with discriminators, balancer and controlled KL."""
    folder = tmp_path_factory.mktemp("game")
    recipe = write_recipe(folder, **GAME, report_to="tensorboard")
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
    assert used["model"] == yaml.safe_load(recipe.read_text())["model"] | {
        "causal": False,
        "latents_mean": None,
        "latents_std": None,
    }
    history = json.loads((out / "metrics.json").read_text())
    assert [row["step"] for row in history] == [0, 8]
    card = published_card(out)
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
    assert "latents" in tags["images"]


@pytest.mark.slow
def test_the_health_of_both_networks_is_logged(game: tuple[Path, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = (game[1] / "logs/hf-audio-vae").glob("events*")
    log = EventAccumulator(str(events))
    log.Reload()
    parts = ("encoder", "decoder", "multi_period_discriminator", "multi_scale_stft_discriminator")
    for name in [f"{kind}/{part}" for kind in ("gradient_norm", "update_to_weight") for part in parts]:
        assert log.Scalars(name)[-1].value > 0, name
    assert {"kl_weight", "discriminator_accuracy", "adversarial"} <= set(log.Tags()["scalars"])
    assert {"validation/active_units", "validation/bits_per_second"} <= set(log.Tags()["scalars"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["straight", "game"])
def test_resume_after_a_kill_is_bit_equal(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    recipe, out = request.getfixturevalue(kind)
    kill_when(command(recipe, tmp_path), tmp_path / "checkpoint-4")
    assert not (tmp_path / "metrics.json").exists()
    finished = run(command(recipe, tmp_path, "--resume_from_checkpoint", "latest"))
    assert "resumed from" in finished.stderr, finished.stderr
    assert equal(published_weights(tmp_path), published_weights(out))
    networks = {"model": "optimizer"} | ({"discriminator": "optimizer_1"} if kind == "game" else {})
    for network, optimizer in networks.items():
        assert equal(trained_weights(tmp_path, 8, network), trained_weights(out, 8, network))
        file = f"checkpoint-8/{optimizer}.safetensors"
        assert equal(load_file(tmp_path / file), load_file(out / file))
    states = [json.loads((folder / "checkpoint-8/trainer_state_0.json").read_text()) for folder in (tmp_path, out)]
    assert states[0]["objective"] == states[1]["objective"]


@pytest.mark.slow
def test_the_discriminators_lie_beside_the_model_and_a_fine_tune_starts_from_them(
    game: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, out = game
    trained = trained_weights(out, 8, "discriminator")
    assert equal(load_discriminators(out).state_dict(), trained)
    assert equal(load_discriminators(out / "checkpoint-8").state_dict(), trained)
    source = ("--pretrained_model_name_or_path", str(out), "--adversarial.pretrained_model_name_or_path", str(out))
    standing = ("--adversarial.learning_rate", "1e-30", "--max_train_steps", "2", "--checkpointing_steps", "2")
    source = (*source, "--adversarial.start_step", "0")
    tuned = run(command(recipe, tmp_path, *source, *standing))
    assert tuned.returncode == 0, tuned.stderr
    assert equal(trained_weights(tmp_path, 2, "discriminator"), trained)


@pytest.mark.slow
def test_a_frozen_encoder_keeps_its_weights_while_the_decoder_learns(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, decoder_only_from_step=4, adam_weight_decay=0.1)
    finished = run(command(recipe, tmp_path / "out"))
    assert finished.returncode == 0, finished.stderr
    before, after = (trained_weights(tmp_path / "out", step) for step in (4, 8))
    for name, weight in before.items():
        assert torch.equal(weight, after[name]) == name.startswith("encoder."), name


@pytest.mark.slow
def test_bf16_trains_both_networks(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, **GAME, mixed_precision="bf16")
    finished = run(command(recipe, tmp_path / "out"))
    assert finished.returncode == 0, finished.stderr
    history = json.loads((tmp_path / "out/metrics.json").read_text())
    assert history[-1]["multi_resolution_stft"] < 0.8 * history[0]["multi_resolution_stft"]
    before, after = (trained_weights(tmp_path / "out", step, "discriminator") for step in (4, 8))
    assert all(bool(weight.isfinite().all()) for weight in after.values())
    assert not equal(before, after)


@pytest.mark.slow
def test_collapsed_latents_raise_the_alarm_in_one_line(tmp_path: Path) -> None:
    finished = run(command(write_recipe(tmp_path), tmp_path / "out", "--weights.kl", "1e4"))
    (line,) = [line for line in finished.stderr.splitlines() if "channels are active" in line]
    assert "0 of 2" in line
    assert "free_bits" in line
    options = ("--weights.kl", "1e4", "--min_active_share", "0")
    silent = run(command(write_recipe(tmp_path), tmp_path / "silent", *options))
    assert silent.returncode == 0
    assert "channels are active" not in silent.stderr


@pytest.mark.slow
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
            check_manifest(checkpoint)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        GAME,
        {"weights": RECIPE["weights"] | {"kl": {"free_bits": 0.2, "weight": 0.1}}, "decoder_only_from_step": 10},
    ],
    ids=["plain", "game", "free bits, then decoder only"],
)
def test_two_processes_train_as_one_with_twice_the_batch(tmp_path: Path, changes: dict) -> None:
    steps = 20
    recipe = write_recipe(tmp_path, max_train_steps=steps, checkpointing_steps=steps, learning_rate=3e-4, **changes)
    options = ("--train_batch_size", "2", "--gradient_accumulation_steps", "2")
    two = run(command(recipe, tmp_path / "two", *options, launcher=TWO_PROCESSES))
    one = run(command(recipe, tmp_path / "one", "--train_batch_size", "8"))
    assert two.returncode == one.returncode == 0, two.stderr + one.stderr
    assert (tmp_path / f"two/checkpoint-{steps}/trainer_state_1.json").exists(), "there was a second process"
    assert [f"number of processes: {n}, device: cpu" in ended.stderr for n, ended in ((2, two), (1, one))] == [
        True,
        True,
    ]
    assert "INFO: [RANK 0] wrote " in two.stderr
    assert "INFO: wrote " in one.stderr
    for network in ("model", "discriminator") if "adversarial" in changes else ("model",):
        ours, theirs = (trained_weights(tmp_path / name, steps, network) for name in ("two", "one"))
        for name, weight in ours.items():
            # Sums of another order differ by float32 rounding, 1e-7; 20 steps of Adam let it grow up to a hundredfold.
            torch.testing.assert_close(weight, theirs[name], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_two_processes_skip_a_step_together(tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    noise = np.random.default_rng(0)
    for i in range(9):
        loud = np.full(2000, 3e38)  # finite, but no loss on it is
        samples = loud if i == 3 else noise.normal(0, 0.1, 2000)
        soundfile.write(tmp_path / f"sound/{i}.wav", samples.astype(np.float32), 8000, "FLOAT")
    sizes = {"train_batch_size": 1, "checkpointing_steps": 8, "dataloader_num_workers": 0}
    recipe = write_recipe(tmp_path, dataset_name=str(tmp_path / "sound"), max_bad_share=0.5, **sizes)
    arguments = command(recipe, tmp_path / "out", "--gradient_accumulation_steps", "2", launcher=TWO_PROCESSES)
    script = tmp_path / "accepts_any_peak.py"  # which the reader refuses
    script.write_text(
        "import math, runpy\nimport hf_audio_vae.data\nfrom hf_audio_vae.audio import io\nio.HIGHEST_PEAK = math.inf\n"
        f"runpy.run_path({SCRIPT!r}, run_name='__main__')\n"
    )
    finished = run([str(script) if argument == SCRIPT else argument for argument in arguments])
    assert finished.returncode == 0, finished.stderr
    states = [json.loads((tmp_path / f"out/checkpoint-8/trainer_state_{rank}.json").read_text()) for rank in (0, 1)]
    skipped = [state["progress"]["skipped_steps"] for state in states]
    assert skipped[0] == skipped[1] > 0
    assert all(bool(torch.isfinite(weight).all()) for weight in trained_weights(tmp_path / "out", 8).values())


def test_a_checkpoint_of_another_recipe_is_refused_before_it_is_loaded(
    straight: tuple[Path, Path], tmp_path: Path
) -> None:
    game = write_recipe(tmp_path, **GAME, dataloader_num_workers=2)
    checkpoint = ("--resume_from_checkpoint", str(straight[1] / "checkpoint-8"))
    finished = run(command(game, tmp_path / "out", *checkpoint))
    assert finished.returncode == 2
    assert "was made with other values of adversarial, balancer, weights;" in finished.stderr


def test_wrong_recipes_are_one_message_and_exit_code_2(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, max_train_steps="five", learning_rat=1)
    finished = run(command(recipe, tmp_path / "out"))
    assert finished.returncode == 2
    assert "max_train_steps" in finished.stderr
    assert "learning_rat:" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["--weights.kl_div", "1"], "there is no term for the weights ['kl_div']; remove them"),
        (["--weights.kl", "null"], "the terms ['kl'] have no weight; give one to each"),
        (["--weights.kl", "null", "--weights.commitment", "1"], "the terms ['kl'] have no weight"),
    ],
)
def test_weights_of_other_terms_are_found_before_the_data_is_read(
    weights: list[str], message: str, tmp_path: Path
) -> None:
    finished = run(command(write_recipe(tmp_path, dataset_name="nowhere/at all"), tmp_path / "out", *weights))
    assert finished.returncode == 2
    assert message in finished.stderr


def test_a_frozen_encoder_needs_no_weight_of_a_regulariser() -> None:
    values = RECIPE | {"output_dir": "out", "decoder_only_from_step": 0}
    config = AutoencoderTrainingConfig.model_validate(values)
    for terms in ("kl",), ("commitment", "kl"):
        config.check_terms((), terms, trains_on_waveforms=True)
    with pytest.raises(ValueError, match=r"no term for the weights \['kl'\]"):
        config.check_terms((), ("commitment",), trains_on_waveforms=True)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [((), TWO_PROCESSES), (TWO_PROCESSES, ())], ids=["more", "fewer"])
def test_a_run_continues_with_another_number_of_processes(tmp_path: Path, first: tuple, second: tuple) -> None:
    recipe = write_recipe(tmp_path, max_train_steps=4, checkpointing_steps=2)
    start = run(command(recipe, tmp_path / "out", "--max_train_steps", "2", launcher=first))
    assert start.returncode == 0, start.stderr
    options = ("--resume_from_checkpoint", "latest", "--accept_changes", "true")
    go_on = run(command(recipe, tmp_path / "out", *options, launcher=second))
    assert go_on.returncode == 0, go_on.stderr
    assert "num_processes" in go_on.stderr + go_on.stdout
    ranks = {int(path.stem[-1]) for path in (tmp_path / "out/checkpoint-4").glob("trainer_state_*.json")}
    assert ranks == ({0, 1} if second else {0})
