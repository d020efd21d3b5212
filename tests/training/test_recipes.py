"""The recipes of the repository."""

from pathlib import Path

import pytest
import torch

from hf_audio_vae.models import new_autoencoder
from hf_audio_vae.modules.quantization import Codebook
from hf_audio_vae.tokens import CodeTokens
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.latent_diffusion.config import LatentDiffusionTrainingConfig
from hf_audio_vae.training.latent_diffusion.denoiser import new_denoiser
from hf_audio_vae.training.token_prior.config import TokenPriorTrainingConfig
from hf_audio_vae.training.token_prior.model import new_prior
from hf_audio_vae.training.token_vae.config import TokenVAETrainingConfig
from hf_audio_vae.training.token_vae.model import build_token_vae
from tests.training.runs import REPO

RECIPES = sorted((REPO / "training/recipes").glob("*.yaml"))
DIFFUSION = [path for path in RECIPES if path.stem.startswith("latent-diffusion")]
PRIORS = [path for path in RECIPES if path.stem.startswith("token-prior")]
TOKEN_VAES = [path for path in RECIPES if path.stem.startswith("tokenvae")]
AUTOENCODERS = [path for path in RECIPES if path not in (*DIFFUSION, *PRIORS, *TOKEN_VAES)]


@pytest.mark.parametrize("recipe", DIFFUSION, ids=lambda path: path.stem)
def test_recipes_of_latent_diffusion_build_networks_and_train_on_nothing_held_out(recipe: Path) -> None:
    config = parse_config(LatentDiffusionTrainingConfig, ["--config", str(recipe)])
    with torch.device("meta"):
        denoiser = new_denoiser(
            8, 100, config.transformer, conditioner_hidden_size=8, class_names=(), text_hidden_size=None
        )
    assert denoiser.transformer.config.num_layers == config.transformer["num_layers"]
    assert config.build_process().scheduler().config.num_train_timesteps == 1000
    assert "held_out" not in config.dataset_name
    assert "held_out" in config.validation_dataset_name


@pytest.mark.parametrize("recipe", PRIORS, ids=lambda path: path.stem)
def test_recipes_of_token_priors_build_models_and_train_on_nothing_held_out(recipe: Path) -> None:
    config = parse_config(TokenPriorTrainingConfig, ["--config", str(recipe)])
    model = new_prior(config.model_type, config.model, vocab_size=100, length=50)
    assert model.num_parameters() > 0
    assert "held_out" not in config.dataset_name
    assert "held_out" in config.validation_dataset_name


@pytest.mark.parametrize("recipe", TOKEN_VAES, ids=lambda path: path.stem)
def test_recipes_of_token_vaes_build_models_and_train_on_nothing_held_out(recipe: Path) -> None:
    config = parse_config(TokenVAETrainingConfig, ["--config", str(recipe)])
    assert build_token_vae(config, CodeTokens((50, 50)), length=50).num_parameters() > 0
    assert "held_out" not in config.dataset_name
    assert "held_out" in config.validation_dataset_name


# Regularisers of models that the user names; a frozen encoder has none.
OF_PUBLISHED: dict[str, set[str]] = {"finetune-codec": {"commitment"}, "finetune-decoder": set()}


@pytest.mark.parametrize("recipe", AUTOENCODERS, ids=lambda path: path.stem)
def test_recipes_are_complete_and_train_on_nothing_held_out(recipe: Path) -> None:
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(recipe)])
    with torch.device("meta"):
        model = new_autoencoder(config.family, config.model)
    learning = {module.learning for module in model.modules() if isinstance(module, Codebook)}
    regularisers = {"gradient": {"commitment", "codebook"}, "ema": {"commitment"}}
    terms = {name for name, options in config.losses if options is not None}
    of_family = regularisers[learning.pop()] if learning else {"kl"}
    terms |= OF_PUBLISHED.get(recipe.stem, of_family)
    terms |= {"adversarial", "feature_matching"} if config.adversarial else set()
    assert terms | set(model.reconstruction_terms) == set(config.weights)
    assert "held_out" not in config.dataset_name
    assert "held_out" not in str(config.data_files)


@pytest.mark.parametrize("kind", ["vae", "decoder", "codec"])
def test_a_recipe_of_fine_tuning_without_its_model_trains_no_other(kind: str) -> None:
    config = parse_config(
        AutoencoderTrainingConfig, ["--config", str(REPO / f"training/recipes/finetune-{kind}.yaml")]
    )
    assert config.pretrained_model_name_or_path == "MODEL", "a new network would be trained"
