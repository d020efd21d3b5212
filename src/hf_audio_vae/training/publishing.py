"""Result of a run: a folder for `from_pretrained` with recipe, metrics and card."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError

from hf_audio_vae.evaluation.card_metadata import EVAL_RESULTS, Measured, Origin, hub_id, without_folders
from hf_audio_vae.evaluation.reports import metrics_table
from hf_audio_vae.evaluation.run_figures import material_of_run
from hf_audio_vae.files import filling
from hf_audio_vae.training.best import BEST_FOLDER
from hf_audio_vae.training.checkpoints import is_continued
from hf_audio_vae.training.config import TrainingConfig

RECIPE_FILE = "recipe.yaml"  # is moved to the folder first, and marks the others as those of a run
RUN_FILES = ["metrics.json", RECIPE_FILE, "README.md"]
OF_TRAINING_DATA = "\nThe validation data is the training data. The figures say nothing about other sound.\n"


class PushError(RuntimeError):
    """The result of a run could not be pushed to the Hub."""


def prepare_repository(config: TrainingConfig) -> str:
    """Create the repository of a run, if it does not exist, and check that it can be written to.

    Returns:
        `str`: Full id of the repository.

    Raises:
        ValueError: There is no token, the Hub cannot be reached, or the token may not write to the repository.
    """
    api, name = HfApi(), config.hub_model_id or config.output_dir.resolve().name
    try:
        repo_id = api.create_repo(name, private=config.hub_private_repo, exist_ok=True).repo_id
        api.auth_check(repo_id, write=True)
    except (OSError, HTTPError, ValueError) as error:
        raise ValueError(
            f"`push_to_hub`: {name} cannot be written to ({_one_line(error)}); log in with `hf auth login`, choose "
            f"another `--hub_model_id`, or leave out `--push_to_hub`."
        ) from error
    return repo_id


def check_output_folder(config: TrainingConfig, files: Sequence[str]) -> None:
    """Check that a run replaces no files but those that it published itself before it was resumed.

    Args:
        config (`TrainingConfig`): The recipe.
        files (`Sequence[str]`): Patterns of the files that the run writes in addition to recipe, metrics and card.

    Raises:
        ValueError: The output folder holds such files of another origin.
    """
    folder = config.output_dir
    names = (*RUN_FILES, *files)
    found = {path.relative_to(folder).parts[0] for name in names for path in folder.glob(name)}
    found |= {Path(name).parts[0] for name in names if (folder / name).is_symlink()}  # may lead nowhere
    continued = is_continued(folder, config.resume_from_checkpoint)
    found |= {BEST_FOLDER} if not continued and (folder / BEST_FOLDER).exists() else set()
    if found and not (continued and RECIPE_FILE in found):
        resumed = config.resume_from_checkpoint is not None and not continued
        raise ValueError(
            f"{folder} holds {', '.join(sorted(found))}, which the run would replace"
            f"{', and no checkpoint to resume from' if resumed else ''}; choose another `--output_dir`, or move them "
            f"away."
        )


def publish(
    write: Callable[[Path, str], None],
    config: TrainingConfig,
    history: Sequence[Mapping[str, float]],
    files: Sequence[str],
    *,
    tabulate: Callable[[Mapping[str, Mapping[str, float]]], str] = metrics_table,
    remarks: Sequence[str] = (),
    next_commands: Sequence[str] = (),
) -> None:
    """Write the folder, print the first and last metrics, and push the folder to the Hub if the recipe says so.

    Args:
        write (`Callable`): Writes the files, given a folder and the title of the card.
        config (`TrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation with their `step`.
        files (`Sequence[str]`): Patterns of files to push in addition to recipe, metrics and card.
        tabulate (`Callable`): Makes the printed table of metrics by step.
        remarks (`Sequence[str]`): Lines that are printed below the table.
        next_commands (`Sequence[str]`): Commands to go on with, which are printed.

    Raises:
        PushError: The folder is written, but cannot be pushed.
    """
    title = config.hub_model_id or config.output_dir.resolve().name
    with filling(config.output_dir, first=RECIPE_FILE) as folder:
        write(folder, title)
    print(tabulate({f"step {history[0]['step']}": history[0], f"step {history[-1]['step']}": history[-1]}))
    for line in remarks:
        print(line)
    print(f"the model, its recipe, metrics and card are in {config.output_dir}")
    if next_commands:
        print("to go on with it:", *next_commands, sep="\n  ")
    if config.push_to_hub:
        try:
            push_folder(config.output_dir, title, HfApi(), files)
        except (OSError, HTTPError, ValueError) as error:
            kept = f'--exclude "*checkpoint-*" --exclude "logs/*" --exclude "{EVAL_RESULTS}/*"'
            removed = f'--delete "*.safetensors*" --delete "{EVAL_RESULTS}/*"'
            command = f"hf upload {title} {config.output_dir} . {kept} {removed}"
            raise PushError(
                f"{config.output_dir} holds the model but could not be pushed ({_one_line(error)}); push it with "
                f"`{command}`."
            ) from error
        print(f"pushed to {title}")


def push_folder(folder: Path, repo_id: str, api: HfApi, files: Sequence[str]) -> None:
    """Upload the published files of a folder, without checkpoints and logs, and remove earlier ones.

    An earlier model in the repository may have other files, such as shards, an adapter or discriminators. Beside the
    new weights, loaders would take the index of its shards. The Hub shows the figures in `.eval_results` with the
    model, and they are those of the earlier weights. These files stay in the history of the repository.

    Args:
        folder (`Path`): The run's folder.
        repo_id (`str`): An existing repository.
        api (`HfApi`): Client.
        files (`Sequence[str]`): Patterns of files in addition to recipe, metrics and card.
    """
    published = [*files, *RUN_FILES]
    removed = [*published, f"{EVAL_RESULTS}/*"]
    api.upload_folder(repo_id=repo_id, folder_path=folder, allow_patterns=published, delete_patterns=removed)


def write_run(
    folder: Path,
    config: TrainingConfig,
    recipe: Mapping[str, object],
    history: Sequence[Mapping[str, float]],
    card: str,
) -> None:
    """Write `recipe.yaml`, `metrics.json` and the card `README.md`, which says so if its figures are of training data.

    Of paths outside of the working directory, the recipe keeps the last part: the folders of one machine mean nothing
    on others, and may name a person.
    """
    (folder / RECIPE_FILE).write_text(yaml.safe_dump(_without_folders(recipe), sort_keys=False))
    (folder / "metrics.json").write_text(json.dumps(list(history), indent=2) + "\n")
    (folder / "README.md").write_text(card + (OF_TRAINING_DATA if config.validates_on_training_data() else ""))


def origin_of_run(config: TrainingConfig) -> Origin:
    """Return license, training data and base model of a run; local ones have no Hub id and are left out."""
    dataset_id = hub_id(config.dataset_name)
    base = getattr(config, "pretrained_model_name_or_path", None)
    return Origin(config.license, (dataset_id,) if dataset_id else (), hub_id(base) if base else None)


def measured_in_run(config: TrainingConfig, metrics: Mapping[str, float], labels: Mapping[str, str]) -> Measured:
    """Return the labelled figures of a validation."""
    return Measured(material_of_run(config.model_dump(), hub_id(config.validation_dataset_name)), metrics, labels)


def _without_folders(value: Any) -> Any:
    """Apply `without_folders` to all texts of a recipe."""
    if isinstance(value, Mapping):
        return {key: _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(entry) for entry in value]
    return without_folders(value) if isinstance(value, str) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
