"""Folder of a trained autoencoder: weights, recipe, metrics and card."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hf_audio_vae.discriminators import DiscriminatorEnsemble
from hf_audio_vae.discriminators.ensemble import DISCRIMINATOR_FOLDER
from hf_audio_vae.evaluation.card_metadata import hub_id
from hf_audio_vae.evaluation.cards import model_card, model_summary
from hf_audio_vae.evaluation.run_figures import figures_of_run
from hf_audio_vae.models import AutoencoderModel, LoraAdapter, model_arguments
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.publishing import origin_of_run, write_run

MODEL_FILES = [
    "config.json",
    "diffusion_pytorch_model*.safetensors*",
    "model*.safetensors*",
    "preprocessor_config.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    f"{DISCRIMINATOR_FOLDER}/*",
]


def write_model(
    model: AutoencoderModel,
    config: AutoencoderTrainingConfig,
    history: Sequence[Mapping[str, float]],
    folder: Path,
    title: str,
    discriminator: DiscriminatorEnsemble | None = None,
    summary: Mapping[str, str] | None = None,
    adapter: LoraAdapter | None = None,
) -> None:
    """Write model, `recipe.yaml`, `metrics.json`, the card `README.md` and `discriminator/` into a folder.

    Args:
        model (`AutoencoderModel`): Model to publish, usually the averaged one.
        config (`AutoencoderTrainingConfig`): The recipe, overrides included.
        history (`Sequence[Mapping[str, float]]`): Metrics of every validation with their `step`; the last is the
            model's.
        folder (`Path`): Folder to write into.
        title (`str`): Title of the card: the repository's id, or the folder's name.
        discriminator (`DiscriminatorEnsemble`, *optional*): Its discriminators, for further training.
        summary (`Mapping[str, str]`, *optional*): Further properties of the model for the card.
        adapter (`LoraAdapter`, *optional*): Written instead of the model, which it was merged into.
    """
    if adapter is None:
        model.save_published(folder)
    else:
        adapter.save_pretrained(folder)
    if discriminator is not None:
        discriminator.save_pretrained(folder / DISCRIMINATOR_FOLDER)
    used = {"family": model.family_name(), "model": model_arguments(model)}  # those of a pretrained model, if given
    recipe = config.model_dump(mode="json", exclude_none=True) | used
    if discriminator is not None:
        kinds = {name: options for name, options in discriminator.config.items() if isinstance(options, dict)}
        recipe["adversarial"]["discriminators"] = kinds
    card = model_card(
        title=title,
        model_class=model.published_class,
        adapter_of=config.pretrained_model_name_or_path if adapter else None,
        summary=model_summary(model) | {"training steps": f"{history[-1]['step']:.0f}"} | dict(summary or {}),
        sampling_rate=model.sampling_rate,
        origin=origin_of_run(config),
        figures=figures_of_run(config.model_dump(), history[-1], hub_id(config.validation_dataset_name)),
        has_recipe=True,
    )
    write_run(folder, config, recipe, history, card)
