"""The script on a model that trains on the likelihood of samples and is validated on generated ones."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from hf_audio_vae import WaveVAE, WaveVAEConfig
from hf_audio_vae.data import CropBatch
from hf_audio_vae.losses import WaveformL1Loss
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.training.autoencoder.objective import AutoencoderObjective
from hf_audio_vae.training.autoencoder.steps import reconstruction_step
from tests.training.runs import GAME, RECIPE, SCRIPT, published_card, run_here

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

DRAFTED = {key: value for key, value in MODEL.items() if key not in ("distribution", "num_components")}
DRAFTED |= {"stft_options": {"hidden_sizes": [8, 8], "num_blocks": [1, 1]}, "window_length": 16}


def model_of(**arguments: object) -> WaveVAE:
    torch.manual_seed(0)
    return WaveVAE(WaveVAEConfig(**arguments)).train()


def test_a_draft_has_losses_of_waveforms_beside_the_likelihood(batch: CropBatch) -> None:
    made = reconstruction_step(model_of(**DRAFTED), batch, {"waveform_l1": WaveformL1Loss()})
    assert made.distances.keys() == {"nll", "waveform_l1"}
    assert made.regularisers.keys() == {"kl"}
    torch.testing.assert_close(made.distances["waveform_l1"], (made.waveform - batch.waveform).abs().mean())
    without = reconstruction_step(model_of(**MODEL), batch, {"waveform_l1": WaveformL1Loss()})
    assert without.distances.keys() == {"nll"}


def test_each_of_the_losses_has_its_weight(batch: CropBatch) -> None:
    losses, weights = {"waveform_l1": WaveformL1Loss()}, {"waveform_l1": 10.0, "nll": 2.0, "kl": 0.1}
    made = AutoencoderObjective(model_of(**DRAFTED), losses, weights)(batch, step=0)
    expected = sum(weights[name] * made.logged[name].float() for name in weights)
    torch.testing.assert_close(made.losses["model"], expected)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (MODEL, {"losses": RECIPE["losses"]}, "own terms ['nll'], not on waveforms; leave out `losses`"),
        (DRAFTED, {"balancer": {}}, "own terms ['nll'] beside losses of waveforms; leave out `balancer`"),
        (DRAFTED, {"adversarial": GAME["adversarial"]}, "leave out `adversarial`"),
        (DRAFTED, {"losses": RECIPE["losses"], "weights": RECIPE["weights"]}, "['nll'] have no entry in `weights`"),
    ],
)
def test_losses_that_do_not_fit_are_refused(model, changes, message: str, tmp_path: Path) -> None:
    recipe = {key: value for key, value in RECIPE.items() if key != "losses"} | {"family": "WaveVAE", "model": model}
    recipe |= {
        "weights": GAME["weights"] | {"nll": 1.0} if "adversarial" in changes else RECIPE["weights"] | {"nll": 1.0}
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | changes))
    ran = run_here(SCRIPT, ["--config", str(tmp_path / "recipe.yaml"), "--output_dir", str(tmp_path / "model")])
    assert message in ran.stderr


@pytest.mark.slow
def test_a_draft_trains_and_the_published_model_generates(tmp_path: Path) -> None:
    recipe = RECIPE | {"family": "WaveVAE", "model": DRAFTED, "weights": RECIPE["weights"] | {"nll": 1.0}}
    recipe |= {"max_train_steps": 60, "validation_steps": 60, "max_validation_samples": 2, "learning_rate": 3e-3}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    ran = run_here(SCRIPT, ["--config", str(tmp_path / "recipe.yaml"), "--output_dir", str(tmp_path / "model")])
    assert ran.returncode == 0, ran.stderr
    first, *_, last = json.loads((tmp_path / "model/metrics.json").read_text())
    assert last["nll"] < 0.95 * first["nll"]
    assert last["multi_resolution_stft"] < 0.95 * first["multi_resolution_stft"]
    assert load_autoencoder(tmp_path / "model").decoder.draft is not None


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
    tuned = ["--pretrained_model_name_or_path", str(tmp_path / "model"), "--pretrained_arguments.past_dropout", "0"]
    options = ["--config", str(tmp_path / "recipe.yaml"), "--output_dir", str(tmp_path / "tuned"), *tuned]
    ran = run_here(SCRIPT, [*options, "--max_train_steps", "1"])
    assert ran.returncode == 0, ran.stderr
    assert load_autoencoder(tmp_path / "tuned").config.past_dropout == 0
