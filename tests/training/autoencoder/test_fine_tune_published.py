"""Fine-tuning of published classes by the training script, published as the original class again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderOobleck
from torch import Tensor

from hf_audio_vae import WaveformVAE
from hf_audio_vae.discriminators import load_discriminators
from hf_audio_vae.models import load_autoencoder
from tests.models.peers.tiny import TINY, buildable
from tests.models.test_published_formats import original
from tests.training.runs import GAME, command, run, write_recipe

LOSSES = {"waveform_l1": {}, "multi_resolution_stft": {"window_lengths": [256, 64]}}
STEPS = 20
LEARNING_RATES = {"NeuCodecModel": 3e-4, "Xcodec2Model": 3e-4}  # transformers; the others have 2e-3
REGULARISERS = {"kl": 1e-4, "commitment": 0.25, "codebook": 1.0}
SPECTROGRAMS = {"AutoencoderKLLTX2Audio", "MMAudioVAE"}  # are read as SpectrogramVAE, which trains on spectrograms


def published(name: str) -> Any:
    return TINY[name].new() if name in TINY else original(name)


@torch.no_grad()
def weights_of(source: Path) -> dict[str, float]:
    """Weights of all terms of a model: latents without noise have no KL."""
    model = load_autoencoder(source)
    losses = model(torch.zeros(1, model.config.audio_channels, 10 * model.hop_length)).losses
    distances = dict.fromkeys(model.reconstruction_terms or LOSSES, 1.0)
    return distances | {name: REGULARISERS[name] for name in losses.keys() - distances}


def recipe_for(source: Path, folder: Path, **changes: object) -> Path:
    weights = weights_of(source)
    options = {
        "pretrained_model_name_or_path": str(source),
        "losses": {name: options for name, options in LOSSES.items() if name in weights},
        "weights": weights,
        "segment_seconds": 0.25,
        "max_train_steps": STEPS,
        "checkpointing_steps": 1000,
        "lr_scheduler": "constant",
        "learning_rate": 2e-3,
    }
    return write_recipe(folder, model={}, **(options | changes))


def total(metrics: dict[str, float]) -> float:
    return metrics.get("spectrogram", metrics["multi_resolution_stft"])


@pytest.mark.slow
@pytest.mark.parametrize("name", buildable({*TINY, *SPECTROGRAMS, "AutoencoderOobleck", "DacModel", "EncodecModel"}))
def test_fine_tuning_lowers_the_loss_and_publishes_the_original_class(name: str, tmp_path: Path) -> None:
    theirs = published(name)
    theirs.save_pretrained(tmp_path / "original")
    recipe = recipe_for(tmp_path / "original", tmp_path, learning_rate=LEARNING_RATES.get(name, 2e-3))
    finished = run(command(recipe, tmp_path / "tuned"))
    assert finished.returncode == 0, finished.stderr
    history = json.loads((tmp_path / "tuned/metrics.json").read_text())
    assert total(history[-1]) < total(history[0])
    tuned = type(theirs).from_pretrained(tmp_path / "tuned")
    assert tuned.state_dict().keys() == theirs.state_dict().keys()
    before = theirs.state_dict()
    assert not all(torch.equal(before[key], value) for key, value in tuned.state_dict().items())
    library = type(theirs).__module__.partition(".")[0]
    assert f"from {library} import {name}" in (tmp_path / "tuned/README.md").read_text()
    load_autoencoder(tmp_path / "tuned")


@torch.no_grad()
def latents_of(model: Any, x: Tensor) -> Tensor:
    encoded = model.encode(x)
    return encoded.audio_codes if model.codebook_sizes else encoded.latent_dist.mean


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AutoencoderOobleck", "DacModel", "LongCatAudioDiTVae"])
def test_a_decoder_alone_is_tuned_against_warm_discriminators_and_latents_stay_bit_equal(
    name: str, tmp_path: Path
) -> None:
    published(name).save_pretrained(tmp_path / "original")
    game = GAME["adversarial"] | {"start_step": 0, "warmup_discriminator_steps": 3, "update_interval": 1}
    options = {
        "adversarial": game,
        "decoder_only_from_step": 0,
        "weights": weights_of(tmp_path / "original") | {"adversarial": 0.1, "feature_matching": 0.1},
        "max_train_steps": 6,
    }
    recipe = recipe_for(tmp_path / "original", tmp_path, **options)
    finished = run(command(recipe, tmp_path / "tuned"))
    assert finished.returncode == 0, finished.stderr
    before, after = (load_autoencoder(tmp_path / folder) for folder in ("original", "tuned"))
    x = 0.3 * torch.randn(1, before.config.audio_channels, 3000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(latents_of(before, x), latents_of(after, x))
    assert not torch.equal(before(x).sample, after(x).sample)
    card = (tmp_path / "tuned/README.md").read_text()
    assert "unchanged from original: bit-equal output on 2 validation clips" in card
    assert str(tmp_path) not in card + (tmp_path / "tuned/recipe.yaml").read_text()
    assert "library_name: hf_audio_vae" not in card, "the original class loads it"
    assert load_discriminators(tmp_path / "tuned") is not None


@pytest.mark.slow
def test_a_model_that_its_class_cannot_express_is_published_as_the_family(tmp_path: Path) -> None:
    AutoencoderOobleck(8, [2, 3], [1, 2], 8, 4, audio_channels=1, sampling_rate=8000).save_pretrained(tmp_path / "odd")
    finished = run(command(recipe_for(tmp_path / "odd", tmp_path, max_train_steps=1), tmp_path / "tuned"))
    assert finished.returncode == 0, finished.stderr
    assert "the result is a WaveformVAE, which AutoencoderOobleck cannot express" in finished.stderr
    assert isinstance(load_autoencoder(tmp_path / "tuned"), WaveformVAE)
    assert json.loads((tmp_path / "tuned/config.json").read_text())["_class_name"] == "WaveformVAE"
