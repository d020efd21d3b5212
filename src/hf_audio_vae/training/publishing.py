"""The end of a run: a folder that `from_pretrained` reads, with its recipe, its figures and a card beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from huggingface_hub import HfApi

from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.discriminators.ensemble import DISCRIMINATOR_FOLDER
from hf_audio_vae.evaluation.reports import metrics_table, model_card, model_summary
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.autoencoder_config import AutoencoderTrainingConfig

PUBLISHED = [
    "config.json",
    "diffusion_pytorch_model*.safetensors*",
    "metrics.json",
    "recipe.yaml",
    "README.md",
    f"{DISCRIMINATOR_FOLDER}/*",
]


def publish(
    model: AutoencoderModel,
    config: AutoencoderTrainingConfig,
    history: Sequence[Mapping[str, float]],
    discriminator: DiscriminatorEnsemble | None = None,
) -> None:
    """Write the folder, print what training has changed, and push it to the Hub if the recipe says so.

    Args:
        model (`AutoencoderModel`): What to publish, as a rule the averaged one.
        config (`AutoencoderTrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation with their `step`.
        discriminator (`DiscriminatorEnsemble`, *optional*): What it was trained against.
    """
    api, title = HfApi(), config.hub_model_id or config.output_dir.name
    if config.push_to_hub:
        title = api.create_repo(title, exist_ok=True).repo_id
    write_model(model, config, history, title, discriminator)
    print(metrics_table({f"step {history[0]['step']}": history[0], f"step {history[-1]['step']}": history[-1]}))
    print(f"the model, its recipe, metrics and card are in {config.output_dir}")
    if config.push_to_hub:
        push_folder(config.output_dir, title, api)
        print(f"pushed to {title}")


def write_model(
    model: AutoencoderModel,
    config: AutoencoderTrainingConfig,
    history: Sequence[Mapping[str, float]],
    title: str,
    discriminator: DiscriminatorEnsemble | None = None,
) -> None:
    """Write model, `recipe.yaml`, `metrics.json`, the card `README.md` and `discriminator/` into `config.output_dir`.

    Args:
        model (`AutoencoderModel`): What to publish, as a rule the averaged one.
        config (`AutoencoderTrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation with their `step`; the last is the
            model's.
        title (`str`): What the card calls it: the repository's id, or the folder's name.
        discriminator (`DiscriminatorEnsemble`, *optional*): What it was trained against, for who trains it further.
    """
    folder = config.output_dir
    model.save_pretrained(folder)
    if discriminator is not None:
        discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
    config_values = {name: value for name, value in model.config.items() if value is not None}
    architecture = {name: value for name, value in config_values.items() if not name.startswith("_")}
    recipe = config.model_dump(mode="json", exclude_none=True) | {"model": architecture}
    if discriminator is not None:
        kinds = {name: options for name, options in discriminator.config.items() if isinstance(options, dict)}
        recipe["adversarial"]["discriminators"] = kinds
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (folder / "metrics.json").write_text(json.dumps(list(history), indent=2) + "\n")
    card = model_card(
        title=title,
        family=type(model).__name__,
        summary=model_summary(model) | {"training steps": f"{history[-1]['step']:.0f}"},
        metrics=history[-1],
        material=f"`{config.validation_dataset_name}`, the first {config.validation_seconds:g} s of each of at most "
        f"{config.max_validation_samples} items",
    )
    (folder / "README.md").write_text(card)


def push_folder(folder: Path, repo_id: str, api: HfApi) -> None:
    """Upload what `write_model` wrote, and nothing else that lies in the folder: no checkpoints, no logs.

    Args:
        folder (`Path`): The run's folder.
        repo_id (`str`): A repository that exists.
        api (`HfApi`): Client.
    """
    api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=PUBLISHED)
