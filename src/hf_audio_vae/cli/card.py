"""The `card` command."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import torch
import yaml
from huggingface_hub import ModelCard
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_audio_vae.cli.outputs import MAX_NAME, check_writable, fitting, printable
from hf_audio_vae.cli.reconstruct import ENDINGS, reconstruct
from hf_audio_vae.cli.sound import load_coder, open_sound
from hf_audio_vae.comparison.measured import figures_of_results
from hf_audio_vae.evaluation.card_metadata import (
    EVAL_RESULTS,
    LOCAL_DATA,
    Origin,
    eval_results_file,
    hub_id,
    origin_of,
    read_card,
)
from hf_audio_vae.evaluation.cards import Figures, Sample, model_card, model_summary
from hf_audio_vae.evaluation.run_figures import figures_of_run
from hf_audio_vae.files import filling
from hf_audio_vae.files.json_files import read_json
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.lora import ADAPTER_CONFIG

CARD, SAMPLES = "README.md", "samples"
RECIPE, METRICS = "recipe.yaml", "metrics.json"  # of a training
LICENSE = re.compile(r"[a-z0-9][a-z0-9.+_-]*")
RECIPE_KEYS = {"validation_dataset_name", "validation_seconds", "max_validation_samples"}  # that a card names
KEPT_ROWS = ("training steps", "encoder")  # properties that only the training knows


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    for option, ids in (("--datasets", arguments.datasets or []), ("--base_model", [arguments.base_model])):
        if wrong := [name for name in ids if name is not None and hub_id(name) is None]:
            raise ValueError(f"{option} {wrong[0]} is a folder, or no `owner/name` of the Hub; give Hub ids, or none.")
    if arguments.license is not None and not LICENSE.fullmatch(arguments.license):
        raise ValueError(f"--license {arguments.license} is no identifier of the Hub; give one, such as apache-2.0.")
    if arguments.hub_model_id is not None:
        try:
            validate_repo_id(arguments.hub_model_id)
        except HFValidationError as error:
            raise ValueError(
                f"--hub_model_id {arguments.hub_model_id} is no id of the Hub; give `owner/name`."
            ) from error
    folder = _folder(arguments)
    earlier = _earlier(folder)
    stems = _stems(arguments.files)
    _check_targets(folder, stems, earlier)
    model = load_coder(arguments.model, arguments)
    fingerprint = model_fingerprint(model)
    figures = _figures(arguments, folder, fingerprint, earlier)
    known = _samples(earlier, folder)
    kept = [sample for sample in known if sample.weights == fingerprint]
    if known and not kept and not stems:
        message = "the sounds of the earlier card are of other weights and are removed; add new ones by --files"
        print(message, file=sys.stderr)
    with filling(folder, last=CARD) as hidden:
        written = [_write_sample(model, path, stem, hidden, fingerprint) for path, stem in stems.items()]
        samples = written or kept
        file = eval_results_file(figures.measured) if figures else None
        if file:
            (hidden / EVAL_RESULTS).mkdir()
            (hidden / EVAL_RESULTS / file[0]).write_text(file[1], encoding="utf-8")
        text = _card(arguments, folder, model, figures, samples, earlier)
        (hidden / CARD).write_text(text, encoding="utf-8", errors="backslashreplace")
    replaced = set[str]().union(*map(_paths, known)).difference(*map(_paths, samples))
    for name in replaced:
        (folder / name).unlink(missing_ok=True)
    _remove_eval_results(folder, earlier, kept=file[0] if file else None)
    print(f"wrote {printable(folder / CARD)}")
    return 0


def _remove_eval_results(folder: Path, earlier: ModelCard | None, *, kept: str | None) -> None:
    """Remove the figures in `.eval_results` that the earlier card had and the new one does not have."""
    results = (earlier.data.get("eval_results") or []) if earlier else []
    for name in sorted({f"{result.dataset_type.replace('/', '--')}.yaml" for result in results} - {kept}):
        path = folder / EVAL_RESULTS / name
        if path.is_file():
            path.unlink()
            print(f"the figures in {printable(path)} are of the earlier card and are removed", file=sys.stderr)
    if (folder / EVAL_RESULTS).is_dir() and not any((folder / EVAL_RESULTS).iterdir()):
        (folder / EVAL_RESULTS).rmdir()


def _folder(arguments: argparse.Namespace) -> Path:
    """Return the folder of the card, after a check that it can be written."""
    folder = arguments.output_dir
    if folder is None:
        folder = Path(arguments.model, arguments.subfolder or "")
        if not folder.is_dir():
            raise ValueError(f"{arguments.model} is no folder; name a folder for the card with --output_dir.")
    check_writable(folder, "the folder of the card,")
    return folder


def _earlier(folder: Path) -> ModelCard | None:
    """Return the card in the folder. Raises `ValueError` if another file has its name."""
    card = read_card(folder / CARD)
    if card is None and os.path.lexists(folder / CARD):
        raise ValueError(f"{folder / CARD} exists and is not a card of this package; move it, or use --output_dir.")
    return card


def _stems(files: Sequence[Path]) -> dict[Path, str]:
    """Return the name of the sample of each file."""
    room = MAX_NAME - max(map(len, ENDINGS))
    stems = {path: fitting("".join(c if c.isprintable() else "-" for c in path.stem), room) for path in files}
    if len(set(stems.values())) < len(files):
        raise ValueError("two of --files have the same name; rename one.")
    return stems


def _check_targets(folder: Path, stems: dict[Path, str], earlier: ModelCard | None) -> None:
    """Check that existing samples and `.eval_results` belong to the earlier card."""
    linked = set(_links(earlier))
    targets = [f"{SAMPLES}/{stem}{ending}" for stem in stems.values() for ending in ENDINGS]
    taken = [name for name in targets if name not in linked and os.path.lexists(folder / name)]
    if earlier is None and (folder / EVAL_RESULTS).exists():
        taken.append(EVAL_RESULTS)
    if taken:
        raise ValueError(f"{folder / taken[0]} exists and is not of a card of this package; move it away.")


def _figures(
    arguments: argparse.Namespace, folder: Path, fingerprint: str, earlier: ModelCard | None
) -> Figures | None:
    """Return the figures of `--results`, or those of the training in the folder."""
    if arguments.results is not None:
        try:
            return figures_of_results(read_json(arguments.results), fingerprint)
        except ValueError as error:
            raise ValueError(f"--results {arguments.results}: {error}") from error
    if not _has_recipe(folder):
        return None
    recipe, metrics = _training(folder)
    known = earlier.data.get("eval_results", []) if earlier else []  # whether the data is on the Hub
    dataset = next((result.dataset_type for result in known if result.dataset_type != LOCAL_DATA), None)
    return figures_of_run(recipe, metrics, dataset)


def _training(folder: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the recipe and the last metrics of the training in a folder.

    Raises:
        ValueError: Their files are not those of a training.
    """
    for name in (RECIPE, METRICS):
        try:
            content = (folder / name).read_text(encoding="utf-8")
            value = yaml.safe_load(content) if name == RECIPE else read_json(folder / name)[-1]
            if not isinstance(value, dict) or (name == RECIPE and not value.keys() >= RECIPE_KEYS):
                raise ValueError("it has another structure")
        except (yaml.YAMLError, ValueError, LookupError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{folder / name} is not one of a training ({reason}); restore it, or move {RECIPE} and {METRICS} "
                f"away for a card without their figures."
            ) from error
        if name == RECIPE:
            recipe = value
    return recipe, value


def _has_recipe(folder: Path) -> bool:
    return (folder / RECIPE).is_file() and (folder / METRICS).is_file()


def _write_sample(model: AutoencoderModel, path: Path, stem: str, hidden: Path, fingerprint: str) -> Sample:
    """Write original, reconstruction and picture of a file into the hidden folder."""
    original, reconstruction, picture = (f"{SAMPLES}/{stem}{ending}" for ending in ENDINGS)
    (hidden / SAMPLES).mkdir(exist_ok=True)
    with open_sound(model, path) as sound:
        files = (hidden / original, hidden / reconstruction, hidden / picture)
        reconstruct(model, path, sound, *files, printable(stem))
    return Sample(stem, original, reconstruction, picture, fingerprint)


def _links(card: ModelCard | None) -> list[str]:
    """Return the paths of the samples that a card links to."""
    return (
        [unquote(link, errors="surrogateescape") for link in re.findall(rf"\]\(({SAMPLES}/[^)\s]+)\)", card.text)]
        if card
        else []
    )


def _samples(card: ModelCard | None, folder: Path) -> list[Sample]:
    """Return the samples of a card whose files exist."""
    first, second, third = ENDINGS
    stems = [link.removesuffix(first) for link in _links(card) if link.endswith(first)]
    found = re.search(r"<!-- of the weights (\S+) -->", card.text) if card else None
    weights = found[1] if found else ""
    samples = [
        Sample(Path(stem).name, f"{stem}{first}", f"{stem}{second}", f"{stem}{third}", weights) for stem in stems
    ]
    return [sample for sample in samples if all((folder / path).is_file() for path in _paths(sample))]


def _paths(sample: Sample) -> set[str]:
    return {sample.original, sample.reconstruction, sample.picture}


def _card(
    arguments: argparse.Namespace,
    folder: Path,
    model: AutoencoderModel,
    figures: Figures | None,
    samples: Sequence[Sample],
    earlier: ModelCard | None,
) -> str:
    heading = re.search(r"^# (.+)$", earlier.text, flags=re.MULTILINE) if earlier else None
    name = arguments.model if not Path(arguments.model).is_dir() else Path(arguments.model).resolve().name
    return model_card(
        title=arguments.hub_model_id or (heading[1] if heading else name),
        model_class=model.published_class,
        summary=model_summary(model) | _kept_rows(earlier),
        sampling_rate=model.sampling_rate,
        origin=_origin(arguments, earlier),
        figures=figures,
        samples=samples,
        has_recipe=_has_recipe(folder),
        subfolder=arguments.subfolder,
        adapter_of=_adapter_of(arguments),
    )


def _adapter_of(arguments: argparse.Namespace) -> str | None:
    """Return the model of the adapter in a folder; `None` if there is no adapter."""
    config = Path(arguments.model, arguments.subfolder or "", ADAPTER_CONFIG)
    return read_json(config)["base_model_name_or_path"] if config.is_file() else None


def _kept_rows(earlier: ModelCard | None) -> dict[str, str]:
    rows = re.findall(r"^\| (.+?) +\| +(.+?) \|$", earlier.text, flags=re.MULTILINE) if earlier else []
    return {name: value for name, value in rows if name in KEPT_ROWS}


def _origin(arguments: argparse.Namespace, earlier: ModelCard | None) -> Origin:
    origin = origin_of(earlier) if earlier else Origin()
    given = {name: value for name in ("license", "base_model") if (value := getattr(arguments, name))}
    datasets = tuple(arguments.datasets) if arguments.datasets else origin.datasets
    return replace(origin, **given, datasets=datasets)
