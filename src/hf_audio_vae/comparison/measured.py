"""Figures of a model for its card, read from the `results.json` of an evaluation."""

from collections.abc import Mapping
from typing import Any

from hf_audio_vae.evaluation.card_metadata import Material, Measured, hub_id
from hf_audio_vae.evaluation.cards import Figures, reconstruction_labels


def figures_of_results(results: Mapping[str, Any], fingerprint: str) -> Figures:
    """Return the figures of a model from an evaluation of one or more systems.

    Args:
        results (`Mapping`): Content of `results.json`.
        fingerprint (`str`): Fingerprint of the model, see `model_fingerprint`.

    Raises:
        ValueError: The evaluation did not measure this model, or the content is not that of `results.json`.
    """
    try:
        identities = results["settings"]["systems"]
        names = [name for name, identity in identities.items() if identity == fingerprint]
        return _figures(results, names[0]) if names else _refuse(list(identities))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("it is no results.json of `hf-audio-vae evaluate`; name that file.") from error


def _refuse(names: list[str]) -> Figures:
    raise ValueError(
        f"it has figures of {', '.join(names)}, but none of a model with these weights and this configuration; "
        f"evaluate this model."
    )


def _figures(results: Mapping[str, Any], name: str) -> Figures:
    means, distances, properties = results["means"], results["distances"], results["properties"]
    systems = {
        system: {metric: mean["mean"] for metric, mean in values.items()} | distances.get(system, {})
        for system, values in means.items()
    }
    names = {metric for values in systems.values() for metric in values}
    labels = reconstruction_labels(names, sorted(metric for metric in distances.get(name, {})))
    return Figures(
        Measured(_material(results), systems[name] | properties[name], labels),
        _description(results),
        {metric: (mean["low"], mean["high"]) for metric, mean in means[name].items()},
        systems,
        results["findings"],
    )


def _material(results: Mapping[str, Any]) -> Material:
    settings = results["settings"]
    data = settings["dataset"]  # a checksum, if it is local
    name, revision = data if isinstance(data, list) else (results.get("dataset_name", "local data"), None)
    return Material(
        name,
        hub_id(name) if isinstance(data, list) else None,
        revision,
        settings["dataset_config_name"],
        settings["dataset_split"],
    )


def _description(results: Mapping[str, Any]) -> str:
    settings, items, skipped = results["settings"], results["items"], results["skipped"]
    seconds = sum(item["seconds"] for item in items)
    channels = settings["audio_channels"]
    unread = f" ({len(skipped)} more cannot be read)" if skipped else ""
    return (
        f"`{_material(results).name}`: {len(items)} items{unread}, {seconds:.1f} s, of each item at most the first "
        f"{settings['max_seconds']:g} s, at {settings['sampling_rate']} Hz with {channels} "
        f"channel{'s' if channels > 1 else ''}"
    )
