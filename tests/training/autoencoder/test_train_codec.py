"""The script as users run it, on models with codes."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoFeatureExtractor, AutoModel

from hf_audio_vae import HierarchicalVQVAE, WaveformVQVAE
from hf_audio_vae.models import load_autoencoder, model_arguments
from tests.training.runs import GAME, TWO_PROCESSES, command, equal, kill_when, run, trained_weights, write_recipe

VQVAE = {
    "family": "WaveformVQVAE",
    "model": {
        "audio_channels": 1,
        "sampling_rate": 8000,
        "encoder_hidden_size": 4,
        "decoder_hidden_size": 16,
        "downsampling_ratios": [2, 3],
        "hidden_size": 4,
        "num_codebooks": 2,
        "codebook_size": 16,
        "codebook_dim": None,
        "cosine": False,
        "codebook_learning": "ema",
        "restart_share": 0.5,
    },
    "weights": {"waveform_l1": 1.0, "multi_resolution_stft": 1.0, "commitment": 0.25},
}
DAC = VQVAE | {
    "model": VQVAE["model"] | {"codebook_dim": 2, "cosine": True, "codebook_learning": "gradient"},
    "weights": VQVAE["weights"] | {"codebook": 1.0},
}
LEVELS = {
    "family": "HierarchicalVQVAE",
    "model": {
        "sampling_rate": 8000,
        "downsampling_counts": [2, 1],
        "strides": [2, 3],
        "hidden_size": 4,
        "width": 4,
        "depth": 1,
        "level_multipliers": [1, 1],
        "joint_decoding": True,
        "codebook_size": 16,
    },
    "weights": VQVAE["weights"],
}
ALONE = LEVELS | {"model": LEVELS["model"] | {"joint_decoding": False}}
KINDS = {"moving averages": VQVAE, "as DAC": DAC, "levels": LEVELS}


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=pytest.mark.slow if kind == "as DAC" else ()) for kind in KINDS]
)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An undisturbed run of 8 steps: (recipe, output folder)."""
    folder = tmp_path_factory.mktemp("straight")
    recipe = write_recipe(folder, **KINDS[request.param])
    finished = run(command(recipe, folder / "out"))
    assert finished.returncode == 0, finished.stderr
    return recipe, folder / "out"


def test_the_result_is_a_model_of_transformers(straight: tuple[Path, Path]) -> None:
    recipe, out = straight
    model = AutoModel.from_pretrained(out)
    given = yaml.safe_load(recipe.read_text())
    assert type(model).__name__ == given["family"]
    used = yaml.safe_load((out / "recipe.yaml").read_text())
    assert used["model"] == model_arguments(model)
    assert given["model"].items() <= used["model"].items()
    assert AutoFeatureExtractor.from_pretrained(out).sampling_rate == 8000
    before, after = json.loads((out / "metrics.json").read_text())
    assert (before["step"], after["step"]) == (0, 8)
    assert 0 < after["bitrate_efficiency"] <= 1
    card = (out / "README.md").read_text()
    assert "library_name: hf_audio_vae" in card
    assert f"{after['bitrate_efficiency']:.3f}" in card


@pytest.mark.slow
def test_resume_after_a_kill_is_bit_equal_codebooks_included(straight: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, out = straight
    kill_when(command(recipe, tmp_path), tmp_path / "checkpoint-4")
    finished = run(command(recipe, tmp_path, "--resume_from_checkpoint", "latest"))
    assert "resumed from" in finished.stderr, finished.stderr
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path, out))
    assert equal(ours, theirs)
    assert equal(trained_weights(tmp_path, 8), trained_weights(out, 8))
    (updates,) = {int(value) for name, value in ours.items() if name.endswith("codebook.updates")}
    assert updates == 9  # the start and eight steps


@pytest.mark.slow
def test_a_frozen_encoder_leaves_codes_as_they_are(straight: tuple[Path, Path], tmp_path: Path) -> None:
    finished = run(command(straight[0], tmp_path, "--decoder_only_from_step", "4", "--adam_weight_decay", "0.1"))
    assert finished.returncode == 0, finished.stderr
    before, after = (trained_weights(tmp_path, step) for step in (4, 8))
    for name, weight in before.items():
        assert torch.equal(weight, after[name]) != name.startswith("decoder"), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one_with_twice_the_batch(kind: str, tmp_path: Path) -> None:
    """But for what is drawn from the data of one of them, at the start and at restarts."""
    changes = KINDS[kind]
    undrawn = changes["model"] | {"kmeans_start": False, "restart_share": None}
    recipe = write_recipe(tmp_path, **changes | {"model": undrawn}, learning_rate=3e-4)
    two = run(command(recipe, tmp_path / "two", launcher=TWO_PROCESSES))
    one = run(command(recipe, tmp_path / "one", "--train_batch_size", "8"))
    assert two.returncode == one.returncode == 0, two.stderr + one.stderr
    ours, theirs = (trained_weights(tmp_path / name, 8) for name in ("two", "one"))
    near: dict[str, list[torch.Tensor]] = defaultdict(list)
    for name, weight in ours.items():
        close = torch.isclose(weight.double(), theirs[name].double(), rtol=1e-4, atol=1e-4)
        near[name.split(".")[0]].append(close.flatten())
    assert len(near) == 3
    for part, close in near.items():
        # A latent between two codes may fall to the other by rounding, which moves a few weights by Adam's steps, here
        # 3e-4. What is not shared between processes differs nearly everywhere, and by more than 1e-4.
        assert torch.cat(close).double().mean() >= 0.95, part


@pytest.mark.slow
def test_discriminators_bf16_and_checkpointing_go_with_codes(tmp_path: Path) -> None:
    game = GAME | {"weights": GAME["weights"] | {"commitment": 0.25}}
    game["weights"].pop("kl")
    for name, changes in (("codec", VQVAE), ("levels", ALONE)):
        recipe = write_recipe(
            tmp_path, **changes | game, mixed_precision="bf16", gradient_checkpointing=True, max_train_steps=40
        )
        finished = run(command(recipe, tmp_path / name))
        assert finished.returncode == 0, finished.stderr
        history = json.loads((tmp_path / name / "metrics.json").read_text())
        assert history[-1]["multi_resolution_stft"] < history[0]["multi_resolution_stft"]
    assert isinstance(load_autoencoder(tmp_path / "codec"), WaveformVQVAE)
    assert isinstance(load_autoencoder(tmp_path / "levels"), HierarchicalVQVAE)


def test_a_fine_tune_goes_on_with_codebooks_that_learn(straight: tuple[Path, Path], tmp_path: Path) -> None:
    recipe, out = straight
    options = ("--pretrained_model_name_or_path", str(out), "--max_train_steps", "1", "--learning_rate", "1e-30")
    tuned = run(command(recipe, tmp_path, *options))
    assert tuned.returncode == 0, tuned.stderr
    before, after = (load_file(folder / "model.safetensors") for folder in (out, tmp_path))
    for name, value in before.items():
        if name.endswith("codebook.updates"):
            assert after[name] == value + 1
        if name.endswith("codebook.counts"):
            assert not torch.equal(after[name], value)


def test_weights_of_other_terms_than_the_model_has_are_refused(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, **VQVAE | {"weights": DAC["weights"]})
    finished = run(command(recipe, tmp_path / "out"))
    assert finished.returncode == 2
    assert "codebook" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.slow
def test_dying_codebooks_raise_the_alarm(tmp_path: Path) -> None:
    dying = VQVAE["model"] | {"restart_share": None, "kmeans_start": False, "codebook_size": 256}
    finished = run(command(write_recipe(tmp_path, **VQVAE | {"model": dying}), tmp_path / "out"))
    (line,) = [line for line in finished.stderr.splitlines() if "the codebooks collapse" in line]
    assert "of 256 codes" in line
    assert "restart_share" in line
