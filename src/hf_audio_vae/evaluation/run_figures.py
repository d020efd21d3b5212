"""Figures of a card that the last validation of a training has measured."""

from collections.abc import Mapping
from typing import Any

from hf_audio_vae.evaluation.card_metadata import Material, Measured, without_folders
from hf_audio_vae.evaluation.cards import Figures, reconstruction_labels


def figures_of_run(recipe: Mapping[str, Any], metrics: Mapping[str, float], dataset_id: str | None) -> Figures:
    """Return the figures of the last validation of an autoencoder's training.

    Args:
        recipe (`Mapping`): Options of the training.
        metrics (`Mapping[str, float]`): The last entry of `metrics.json`.
        dataset_id (`str`, *optional*): Hub id of the validation data.
    """
    material = material_of_run(recipe, dataset_id)
    share = recipe.get("held_out_share")
    part = f", about {100 * share:g} % of its items, which are not trained on" if share else ""
    description = (
        f"`{material.name}`{part}, the first {recipe['validation_seconds']:g} s of each of at most "
        f"{recipe['max_validation_samples']} items"
    )
    return Figures(Measured(material, metrics, reconstruction_labels(metrics)), description)


def material_of_run(recipe: Mapping[str, Any], dataset_id: str | None) -> Material:
    """Return the validation data of a training; the arguments are those of `figures_of_run`."""
    return Material(
        without_folders(recipe["validation_dataset_name"]),
        dataset_id,
        recipe.get("validation_dataset_revision"),
        recipe.get("validation_dataset_config_name"),
        recipe.get("validation_dataset_split"),
    )
