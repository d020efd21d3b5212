"""The script on a model that trains on the likelihood of samples and is validated on generated ones."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from hf_audio_vae.models import load_autoencoder
from tests.training.runs import RECIPE, SCRIPT, published_card, run_here

MODEL = {
    "downsampling_ratios": [4, 4],
    "window_length": 64,
    "hidden_size": 8,
    "latent_channels": 2,
    "residual_channels": 8,
    "skip_channels": 16,
    "num_stacks": 1,
    "layers_per_stack": 4,
    "distribution": "mu_law",
    "num_components": 32,
    "past_dropout": 0.1,
    "sampling_rate": 8000,
}


@pytest.mark.slow
def test_the_likelihood_rises_and_the_published_model_generates(tmp_path: Path) -> None:
    recipe = {key: value for key, value in RECIPE.items() if key != "losses"}
    recipe |= {"family": "WaveVAE", "model": MODEL, "weights": {"nll": 1.0, "kl": 1e-3}, "learning_rate": 1e-2}
    recipe |= {"max_train_steps": 60, "validation_steps": 60, "max_validation_samples": 2}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    ran = run_here(SCRIPT, ["--config", str(tmp_path / "recipe.yaml"), "--output_dir", str(tmp_path / "model")])
    assert ran.returncode == 0, ran.stderr
    first, *_, last = json.loads((tmp_path / "model/metrics.json").read_text())
    assert last["nll"] < 0.95 * first["nll"]
    assert {"si_sdr_db", "mel_distance"} <= last.keys()
    card = published_card(tmp_path / "model")
    assert "library_name: hf_audio_vae" in card
    assert f"| negative log-likelihood (nats a sample, ↓) | {last['nll']:7.3f} |" in card
    model = load_autoencoder(tmp_path / "model")
    with torch.no_grad():
        sample = model.decode(torch.zeros(1, 2, 10)).sample
    assert len(sample.unique()) > 1
