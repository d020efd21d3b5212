"""Result of a run: a folder for `from_pretrained` with recipe, metrics and card."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml
from huggingface_hub import HfApi

from hf_audio_vae.evaluation.reports import metrics_table
from hf_audio_vae.training.config import TrainingConfig

RUN_FILES = ["metrics.json", "recipe.yaml", "README.md"]


def publish(
    write: Callable[[str], None],
    config: TrainingConfig,
    history: Sequence[Mapping[str, float]],
    files: Sequence[str],
    *,
    tabulate: Callable[[Mapping[str, Mapping[str, float]]], str] = metrics_table,
) -> None:
    """Write the folder, print the first and last metrics, and push the folder to the Hub if the recipe says so.

    Args:
        write (`Callable`): Writes the folder, given the title of the card.
        config (`TrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation with their `step`.
        files (`Sequence[str]`): Patterns of files to push in addition to recipe, metrics and card.
        tabulate (`Callable`): Makes the printed table of metrics by step.
    """
    api, title = HfApi(), config.hub_model_id or config.output_dir.name
    if config.push_to_hub:
        title = api.create_repo(title, exist_ok=True).repo_id
    write(title)
    print(tabulate({f"step {history[0]['step']}": history[0], f"step {history[-1]['step']}": history[-1]}))
    print(f"the model, its recipe, metrics and card are in {config.output_dir}")
    if config.push_to_hub:
        push_folder(config.output_dir, title, api, files)
        print(f"pushed to {title}")


def push_folder(folder: Path, repo_id: str, api: HfApi, files: Sequence[str]) -> None:
    """Upload the published files of a folder, without checkpoints and logs.

    Args:
        folder (`Path`): The run's folder.
        repo_id (`str`): An existing repository.
        api (`HfApi`): Client.
        files (`Sequence[str]`): Patterns of files in addition to recipe, metrics and card.
    """
    api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=[*files, *RUN_FILES])


def write_run(folder: Path, recipe: Mapping[str, object], history: Sequence[Mapping[str, float]], card: str) -> None:
    """Write `recipe.yaml`, `metrics.json` and the card `README.md`."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(dict(recipe), sort_keys=False))
    (folder / "metrics.json").write_text(json.dumps(list(history), indent=2) + "\n")
    (folder / "README.md").write_text(card)
