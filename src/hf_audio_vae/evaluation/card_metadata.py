"""Metadata of model cards in the Hub's own formats: the YAML block of a card, and `.eval_results/*.yaml`."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, ModelCardData, eval_result_entries_to_yaml
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

PACKAGE, PEFT = "hf_audio_vae", "peft"
CARD_TAG = "hf-audio-vae"  # of the cards of all versions
CARD_START = b"---\n"
AUTOENCODER_TASK, GENERATOR_TASK = "audio-to-audio", "text-to-audio"  # tasks of the Hub
EVAL_RESULTS = ".eval_results"  # folder of figures that the Hub shows with a model
LOCAL_DATA = "audiofolder"  # type of data that is not on the Hub, as transformers' cards name `imagefolder`
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Origin:
    """License, training data and base model, which the files of a model do not record.

    Attributes:
        license (`str`, *optional*): Identifier of the Hub, such as `apache-2.0`.
        datasets (`tuple[str, ...]`): Hub ids of the training data; local data has none.
        base_model (`str`, *optional*): Hub id of the model that was fine-tuned.
    """

    license: str | None = None
    datasets: tuple[str, ...] = ()
    base_model: str | None = None


@dataclass(frozen=True)
class Material:
    """Data that figures were measured on.

    Attributes:
        name (`str`): Hub id or local name.
        dataset_id (`str`, *optional*): Hub id; local data has none.
        revision (`str`, *optional*): Revision of the data set.
        config (`str`, *optional*): Configuration of the data set.
        split (`str`, *optional*): Split of the data set.
    """

    name: str
    dataset_id: str | None = None
    revision: str | None = None
    config: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Measured:
    """Figures for the metadata of a card.

    Attributes:
        material (`Material`): Data that they were measured on.
        values (`Mapping[str, float]`): Values by metric name. Values that are not finite are left out.
        labels (`Mapping[str, str]`): Labels by metric name. Values without a label are left out.
    """

    material: Material
    values: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)

    def finite(self) -> dict[str, float]:
        """Return the labelled values that are numbers."""
        return {name: self.values[name] for name in self.labels if math.isfinite(self.values.get(name, math.nan))}


def card_data(
    title: str,
    *,
    library: str,
    task: str,
    tags: Sequence[str],
    origin: Origin,
    sampling_rate: int | None = None,
    measured: Measured | None = None,
) -> ModelCardData:
    """Return the metadata of a card.

    Args:
        title (`str`): Hub id, or name of the folder.
        library (`str`): Name of the library that loads the model.
        task (`str`): Task of the Hub, `pipeline_tag`.
        tags (`Sequence[str]`): Further tags; `CARD_TAG` is added.
        origin (`Origin`): License, data sets and base model.
        sampling_rate (`int`, *optional*): In Hz.
        measured (`Measured`, *optional*): Figures for the `model-index`.
    """
    results = eval_results(measured, task) if measured else []
    further: dict[str, Any] = {} if sampling_rate is None else {"sampling_rate": sampling_rate}
    return ModelCardData(
        license=origin.license,
        datasets=list(origin.datasets) or None,
        base_model=origin.base_model,
        base_model_relation="adapter" if library == PEFT and origin.base_model else None,
        library_name=library,
        pipeline_tag=task,
        tags=[*tags, CARD_TAG],
        model_name=title if results else None,
        eval_results=results or None,
        **further,
    )


def eval_results(measured: Measured, task: str) -> list[EvalResult]:
    """Return figures as entries of a card's `model-index`."""
    material = measured.material
    return [
        EvalResult(
            task_type=task,
            dataset_type=material.dataset_id or LOCAL_DATA,
            dataset_name=material.name,
            dataset_config=material.config,
            dataset_split=material.split,
            dataset_revision=material.revision,
            metric_type=name,
            metric_name=measured.labels[name],
            metric_value=round(value, 6),
        )
        for name, value in measured.finite().items()
    ]


def eval_results_file(measured: Measured) -> tuple[str, str] | None:
    """Return name and content of the file in `.eval_results/` that the Hub shows with the model.

    The Hub lists such figures under the data set, so they need the Hub id of the data set. The result is `None` for
    local data, whose figures are only in the `model-index`. The task of an entry is the name of the metric. The
    revision is only given if it is a commit.
    """
    material, values = measured.material, measured.finite()
    if material.dataset_id is None or not values:
        return None
    parts = [
        f"split {material.split}" if material.split else "",
        f"config {material.config}" if material.config else "",
    ]
    entries = [
        EvalResultEntry(
            dataset_id=material.dataset_id,
            task_id=name,
            value=round(value, 6),
            dataset_revision=material.revision if COMMIT.fullmatch(material.revision or "") else None,
            notes=", ".join([measured.labels[name], *filter(None, parts)]),
        )
        for name, value in values.items()
    ]
    content = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
    return material.dataset_id.replace("/", "--") + ".yaml", content


def hub_id(name: str) -> str | None:
    """Return the name if it has the form `owner/name` of the Hub; `None` for a local path or another form."""
    if name.count("/") != 1 or Path(name).expanduser().exists():
        return None
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return name


def without_folders(name: str) -> str:
    """Return the last part of a path outside of the working directory. Other names are returned as they are.

    Example:
        >>> without_folders("/home/someone/sounds"), without_folders("data/train"), without_folders("owner/data")
        ('sounds', 'data/train', 'owner/data')
    """
    path = Path(name)
    outside = path.is_absolute() or path.parts[:1] in (("~",), ("..",))
    return path.name if outside and path.name else name


def read_card(path: Path) -> ModelCard | None:
    """Return the card in a file; `None` if there is no file, or if it does not have the tag of this package."""
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        if file.read(len(CARD_START)) != CARD_START:
            return None
    try:
        card = ModelCard.load(path, ignore_metadata_errors=True)
    except (ValueError, TypeError, yaml.YAMLError):
        return None
    tags = card.data.get("tags")
    return card if isinstance(tags, list) and CARD_TAG in tags else None


def origin_of(card: ModelCard) -> Origin:
    """Return the license, the data sets and the base model in the metadata of a card."""
    datasets, base = card.data.get("datasets", ()), card.data.get("base_model")
    return Origin(
        card.data.get("license"),
        (datasets,) if isinstance(datasets, str) else tuple(datasets),
        base if isinstance(base, str) else None,
    )
