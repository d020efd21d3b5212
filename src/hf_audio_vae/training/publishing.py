"""The end of a run: a folder that `from_pretrained` reads, with its recipe, its figures and a card beside it."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import yaml
from diffusers import DiffusionPipeline
from huggingface_hub import HfApi

from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.discriminators.ensemble import DISCRIMINATOR_FOLDER
from hf_audio_vae.evaluation.reports import metrics_table, model_card, model_summary, pipeline_card
from hf_audio_vae.models import AutoencoderModel, model_arguments
from hf_audio_vae.training.autoencoder_config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import TrainingConfig
from hf_audio_vae.training.latent_diffusion_config import LatentDiffusionTrainingConfig

PIPELINE_PARTS = ("vae", "transformer", "conditioner", "scheduler", "text_encoder", "tokenizer")

MODEL_FILES = [
    "config.json",
    "diffusion_pytorch_model*.safetensors*",
    "model*.safetensors*",
    "preprocessor_config.json",
    f"{DISCRIMINATOR_FOLDER}/*",
]
PIPELINE_FILES = ["model_index.json", *(f"{part}/*" for part in PIPELINE_PARTS)]
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
    model.save_published(folder)
    if discriminator is not None:
        discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
    recipe = config.model_dump(mode="json", exclude_none=True) | {"model": model_arguments(model)}
    if discriminator is not None:
        kinds = {name: options for name, options in discriminator.config.items() if isinstance(options, dict)}
        recipe["adversarial"]["discriminators"] = kinds
    card = model_card(
        title=title,
        family=type(model).__name__,
        summary=model_summary(model) | {"training steps": f"{history[-1]['step']:.0f}"},
        metrics=history[-1],
        material=f"`{config.validation_dataset_name}`, the first {config.validation_seconds:g} s of each of at most "
        f"{config.max_validation_samples} items",
    )
    write_run(folder, recipe, history, card)


def write_pipeline(
    pipeline: DiffusionPipeline,
    config: LatentDiffusionTrainingConfig,
    history: Sequence[Mapping[str, float]],
    title: str,
) -> None:
    """Write pipeline, `recipe.yaml`, `metrics.json` and the card `README.md` into `config.output_dir`.

    Args:
        pipeline (`DiffusionPipeline`): What to publish, with the averaged networks.
        config (`LatentDiffusionTrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation; the last is the pipeline's.
        title (`str`): What the card calls it.
    """
    pipeline.save_pretrained(config.output_dir)
    names = list(pipeline.conditioner.config.class_names)
    arguments = ['"a text"'] if config.text_column else []
    arguments += [f'class_labels="{names[0]}"'] if names else []
    networks = (pipeline.transformer, pipeline.conditioner)
    summary = {
        "parameters of the denoiser": f"{sum(p.numel() for n in networks for p in n.parameters()) / 1e6:.2f} M",
        "sampling rate": f"{pipeline.vae.sampling_rate} Hz",
        "longest sound": f"{pipeline.transformer.config.sample_size / pipeline.vae.frame_rate:.2f} s",
        "classes": ", ".join(names) or "none",
        "texts": config.text_encoder_name_or_path or "none",
        "process": config.process,
        "training steps": f"{history[-1]['step']:.0f}",
    }
    card = pipeline_card(title=title, call=", ".join(arguments), summary=summary, metrics=history[-1])
    write_run(config.output_dir, config.model_dump(mode="json", exclude_none=True), history, card)


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
