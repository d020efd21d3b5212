"""The end of a run: a folder that `from_pretrained` reads, with its recipe, its figures and a card beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from huggingface_hub import HfApi

from hf_audio_vae.evaluation.reports import model_card, model_summary
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.config import AutoencoderTrainingConfig


def write_model(
    model: AutoencoderModel, config: AutoencoderTrainingConfig, history: Sequence[Mapping[str, float]]
) -> None:
    """Write model, `recipe.yaml`, `metrics.json` and the card `README.md` into `config.output_dir`.

    Args:
        model (`AutoencoderModel`): What to publish, as a rule the averaged one.
        config (`AutoencoderTrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation with their `step`; the last is the
            model's.
    """
    folder = config.output_dir
    model.save_pretrained(folder)
    recipe = config.model_dump(mode="json", exclude_none=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (folder / "metrics.json").write_text(json.dumps(list(history), indent=2) + "\n")
    card = model_card(
        title=config.hub_model_id or folder.name,
        family=type(model).__name__,
        summary=model_summary(model) | {"training steps": f"{history[-1]['step']:.0f}"},
        metrics=history[-1],
        material=f"`{config.validation_dataset_name}`, the first {config.validation_seconds:g} s of each of at most "
        f"{config.max_validation_samples} items",
    )
    (folder / "README.md").write_text(card)


def push_folder(folder: Path, repo_id: str | None, api: HfApi | None = None) -> str:
    """Upload the finished model, without checkpoints and logs, to the Hub.

    Args:
        folder (`Path`): What `write_model` wrote.
        repo_id (`str`, *optional*): Repository; the folder's name under the user's account if not given.
        api (`HfApi`, *optional*): Client, to reach another endpoint than the default.

    Returns:
        `str`: The repository's id.
    """
    api = api or HfApi()
    repo = api.create_repo(repo_id or folder.name, exist_ok=True).repo_id
    api.upload_folder(
        repo_id=repo, folder_path=folder, ignore_patterns=["checkpoint-*/**", ".checkpoint-*/**", "logs/**"]
    )
    return repo
