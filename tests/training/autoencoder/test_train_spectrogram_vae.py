"""The script on a model that trains on its own spectrograms."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from hf_audio_vae import SpectrogramVAE, WaveformVAE
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.training.autoencoder.objective import AutoencoderObjective
from hf_audio_vae.training.autoencoder.steps import reconstruction_step
from tests.training.runs import GAME, RECIPE, SCRIPT, run_here

MODEL = {
    "front_end": "mel",
    "downsampling_ratios": [64, 2],
    "bin_ratios": [2, 2],
    "block_out_channels": [4, 6],
    "layers_per_block": 1,
    "latent_channels": 2,
    "sampling_rate": 8000,
    "window_length": 256,
    "mel_bins": 20,
}
MEL = {key: value for key, value in RECIPE.items() if key != "losses"}
MEL |= {"family": "SpectrogramVAE", "model": MODEL, "weights": {"spectrogram": 1.0, "kl": 1e-3}}
WEIGHTS = {"spectrogram": 2.0, "kl": 0.1}


@pytest.fixture
def mel_model() -> SpectrogramVAE:
    torch.manual_seed(0)
    return SpectrogramVAE(**MODEL).train()


def train(folder: Path, recipe: dict[str, object]) -> str:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    ran = run_here(SCRIPT, ["--config", str(folder / "recipe.yaml"), "--output_dir", str(folder / "model")])
    return "" if ran.returncode == 0 else ran.stderr


@pytest.mark.parametrize("network", [{}, {"network": "classic", "num_frames": 8}], ids=["residual", "classic"])
def test_it_trains_without_losses_of_waveforms_and_is_validated_on_them(network, tmp_path: Path) -> None:
    changes = {"model": MODEL | network, "max_train_steps": 30, "validation_steps": 30, "max_validation_samples": 2}
    assert train(tmp_path, MEL | changes) == ""
    first, *_, last = json.loads((tmp_path / "model/metrics.json").read_text())
    assert last["spectrogram"] < 0.98 * first["spectrogram"]
    assert {"si_sdr_db", "mel_distance"} <= last.keys()
    assert load_autoencoder(tmp_path / "model").reconstruction_terms == ("spectrogram",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"kl": 1e-3}}, "own terms ['spectrogram'] have no entry in `weights`"),
        ({"losses": RECIPE["losses"], "weights": RECIPE["weights"]}, "not on waveforms; leave out `losses`"),
        ({"adversarial": GAME["adversarial"], "weights": GAME["weights"]}, "leave out `adversarial`"),
        ({"family": "WaveformVAE", "model": RECIPE["model"], "weights": RECIPE["weights"]}, "`losses` is empty"),
    ],
)
def test_losses_that_are_not_the_models_are_refused(changes, message: str, tmp_path: Path) -> None:
    assert message in train(tmp_path, MEL | changes)


def test_the_spectrogram_is_a_distance_and_the_kl_a_regulariser(mel_model, batch) -> None:
    made = reconstruction_step(mel_model, batch, {})
    assert made.distances.keys() == {"spectrogram"}
    assert made.regularisers.keys() == {"kl"}
    assert not made.distances["spectrogram"].isnan()


def test_with_the_encoder_frozen_the_spectrogram_is_still_learned(mel_model, batch) -> None:
    objective = AutoencoderObjective(mel_model, {}, WEIGHTS, decoder_only_from_step=1)
    both, decoder_only = objective(batch, step=0), objective(batch, step=1)
    torch.testing.assert_close(both.losses["model"], 2 * both.logged["spectrogram"] + 0.1 * both.logged["kl"].float())
    torch.testing.assert_close(decoder_only.losses["model"], 2 * decoder_only.logged["spectrogram"])


def test_other_families_have_no_terms_of_their_own(model: WaveformVAE) -> None:
    assert model.reconstruction_terms == ()
