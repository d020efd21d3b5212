"""The end of a run: a folder that `from_pretrained` reads, with its recipe, its metrics and a card beside it."""

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
    """Write the folder, print what training has changed, and push it to the Hub if the recipe says so.

    Args:
        write (`Callable`): Writes it, given the title of its card.
        config (`TrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation with their `step`.
        files (`Sequence[str]`): Patterns of what is pushed beside recipe, metrics and card.
        tabulate (`Callable`): Makes the table that is printed of metrics by step.
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
    """Upload what was written, and nothing else that lies in the folder: no checkpoints, no logs.

    Args:
        folder (`Path`): The run's folder.
        repo_id (`str`): A repository that exists.
        api (`HfApi`): Client.
        files (`Sequence[str]`): Patterns of files, beside recipe, metrics and card.
    """
    api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=[*files, *RUN_FILES])


def write_run(folder: Path, recipe: Mapping[str, object], history: Sequence[Mapping[str, float]], card: str) -> None:
    """Write `recipe.yaml`, `metrics.json` and the card `README.md`."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(dict(recipe), sort_keys=False))
    (folder / "metrics.json").write_text(json.dumps(list(history), indent=2) + "\n")
    (folder / "README.md").write_text(card)
