"""Runs that are killed at random moments reach the same weights as one that is not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from tests.data.code_data import write_codes
from tests.training.latent_diffusion.test_train_latent_diffusion import RECIPE as DIFFUSION_RECIPE
from tests.training.runs import GAME, REPO, environment, write_recipe
from tests.training.token_prior.test_train_token_prior import RECIPE as PRIOR_RECIPE

OFTEN = {"checkpointing_steps": 1, "max_train_steps": 10, "checkpoints_total_limit": 2, "dataloader_num_workers": 1}


def assert_equal_after_kills(script: str, recipe: Path, folder: Path, kills: int) -> None:
    """Compare all files of weights, averages, optimisers and states of the last checkpoint, byte by byte."""
    program = [sys.executable, str(REPO / "tests/training/kills.py"), str(REPO / "training" / script)]
    arguments = [str(folder / "straight"), str(folder / "killed"), str(kills), "--config", str(recipe)]
    environment_ = environment() | {"PYTHONPATH": str(REPO / "src")}
    finished = subprocess.run(
        [*program, *arguments], env=environment_, cwd=REPO, capture_output=True, text=True, timeout=550
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    last = f"checkpoint-{OFTEN['max_train_steps']}"
    straight = (folder / "straight" / last / "SHA256SUMS").read_text()
    for killed in folder.glob("killed*"):
        assert (killed / last / "SHA256SUMS").read_text() == straight, finished.stdout
        for weights in (folder / "straight").glob("*.safetensors"):
            ours, theirs = load_file(killed / weights.name), load_file(weights)
            assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_autoencoders_with_discriminators(tmp_path: Path) -> None:
    assert_equal_after_kills("train_autoencoder.py", write_recipe(tmp_path, **GAME, **OFTEN), tmp_path, 8)


@pytest.mark.slow
def test_token_priors(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("train", "held_out"):
        write_codes(tmp_path / name, [[rng.integers(0, 3, (2, 20))] for _ in range(6)])
    data = {"dataset_name": str(tmp_path / "train"), "validation_dataset_name": str(tmp_path / "held_out")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(PRIOR_RECIPE | data | OFTEN))
    assert_equal_after_kills("train_token_prior.py", tmp_path / "recipe.yaml", tmp_path, 8)


@pytest.mark.slow
def test_latent_diffusion(tmp_path: Path) -> None:
    latents = str(REPO / "tests/saved/latents")
    data = {"dataset_name": latents, "validation_dataset_name": latents}
    vae = {"vae_name_or_path": str(REPO / "tests/saved/waveform_vae"), "num_validation_sounds": 0}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(DIFFUSION_RECIPE | data | vae | OFTEN))
    assert_equal_after_kills("train_latent_diffusion.py", tmp_path / "recipe.yaml", tmp_path, 8)
