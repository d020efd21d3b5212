"""The `evaluate` command."""

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from hf_audio_vae.audio import AudioDecodeError
from hf_audio_vae.cli.clips import check_items, open_dataset
from hf_audio_vae.cli.comparing import (
    check_models,
    check_output_outside_data,
    dataset_identity,
    indexed_clips,
    names_in_tables,
)
from hf_audio_vae.cli.sound import check_seconds, load_coder
from hf_audio_vae.cli.tables import print_json, print_remark, write_rows
from hf_audio_vae.comparison.items import REFERENCE, Item
from hf_audio_vae.comparison.picture import rate_quality_figure
from hf_audio_vae.comparison.report import DISTANCES, PANELS, markdown
from hf_audio_vae.comparison.results import Results
from hf_audio_vae.comparison.run import Measurement, load_items, measure_in_parts, prepare
from hf_audio_vae.comparison.speed import speeds
from hf_audio_vae.comparison.systems import AnchorSystem, ModelSystem, System, is_anchor
from hf_audio_vae.data.clips import open_item
from hf_audio_vae.evaluation.card_metadata import without_folders
from hf_audio_vae.evaluation.embeddings import embedding_of
from hf_audio_vae.evaluation.registry import (
    RECONSTRUCTION_METRICS,
    SIGNAL_METRICS,
    check_metrics,
    measure_reconstruction,
)
from hf_audio_vae.files import exclusive, replacing
from hf_audio_vae.files.location import DEFAULT_MODEL
from hf_audio_vae.version import __version__

ANCHORS_RATE = 48000  # of a comparison without models
ANCHORS_ITEMS = 32  # whose channels decide those of a comparison without models
SPEED_SECONDS = 10.0  # of the clip that speed is measured on
FEW_EMBEDDINGS = 100  # whose distances the user is warned about


@dataclass(frozen=True)
class Clips:
    """The clips of the command's data set at the rate of the comparison."""

    arguments: argparse.Namespace
    sampling_rate: int
    audio_channels: int
    announces: bool

    def __call__(self, wanted: Any, skipped: dict[str, str]) -> Iterator[tuple[int, str, object, Tensor]]:
        """See `Measurement.clips`."""
        return indexed_clips(
            self.arguments,
            wanted,
            skipped,
            sampling_rate=self.sampling_rate,
            audio_channels=self.audio_channels,
            announces=self.announces,
        )


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Return 1 if some items cannot be read."""
    _check(arguments)
    measurement = measurement_of(arguments, announces=True)
    settings = _settings(arguments, measurement)
    with tempfile.TemporaryDirectory() if arguments.output_dir is None else nullcontext() as temporary:
        folder = Path(temporary or arguments.output_dir)
        with exclusive(folder):
            skipped = _measured(arguments, measurement, settings, folder)
            items = load_items(folder)
            code = check_items(arguments, len(items), skipped)
            _warn_of_undefined_metrics(arguments.metrics, items)
            _warn_of_few_embeddings(items)
            _warn_of_items_without_class(arguments.label_column, items)
            directions = {name: metric.direction == "↑" for name, metric in RECONSTRUCTION_METRICS.items()}
            results = Results(items, measurement.systems, directions, DISTANCES)
            speed = _speeds(arguments, measurement)
            name = without_folders(arguments.dataset_name)
            described = {"settings": settings, "skipped": skipped, "dataset_name": name}
            if arguments.format == "markdown":
                print(markdown(results, speed, arguments.dataset_name, with_differences=False))
            elif arguments.format == "csv":
                write_rows(*results.rows(), sys.stdout)
            else:
                print_json({**described, **results.numbers(), "speed": speed})
            if arguments.output_dir is not None:
                text = markdown(results, speed, arguments.dataset_name, with_differences=True)
                _write(folder, results, described, text)
                print_remark(
                    f"wrote results.json, results.md, results.png and items.csv to {folder}", arguments.format
                )
    return code


def _measured(
    arguments: argparse.Namespace, measurement: Measurement, settings: dict[str, Any], folder: Path
) -> dict[str, str]:
    """Measure the items that are not measured yet. Return the items that cannot be read."""
    if measured := prepare(folder, settings):
        print(f"{measured} items are measured already", file=sys.stderr)
    if arguments.num_processes > 1:
        skipped = measure_in_parts(partial(measurement_of, arguments), folder, arguments.num_processes)
    else:
        skipped = measurement.run(folder)
    return dict(sorted(skipped.items()))


def _warn_of_undefined_metrics(metrics: Sequence[str], items: Sequence[Item]) -> None:
    """Say on stderr which metrics are defined for some of the items, and which additional ones for none."""
    undefined: dict[int, list[str]] = {}
    for metric in metrics:
        defined = sum(any(metric in figures for figures in item.figures.values()) for item in items)
        if defined < len(items) and (defined or metric not in SIGNAL_METRICS):
            undefined.setdefault(defined, []).append(metric)
    for defined, names in undefined.items():
        verb = "is" if len(names) == 1 else "are"
        print(
            f"{', '.join(names)} {verb} defined for {defined} of {len(items)} items; silent or short items have none",
            file=sys.stderr,
        )


def _warn_of_few_embeddings(items: Sequence[Item]) -> None:
    """Say on stderr if there are too few embeddings for FAD, or so few that other items would change KAD much."""
    counts: Counter[str] = Counter()
    for item in items:
        counts.update({name: len(vectors) for name, vectors in item.embeddings.get(REFERENCE, {}).items()})
    for name, count in counts.items():
        size = items[0].embeddings[REFERENCE][name].shape[-1]
        if count <= size:
            print(
                f"FAD {name} needs more than {size} embeddings, one for each dimension; there are {count}",
                file=sys.stderr,
            )
        if count < FEW_EMBEDDINGS:
            print(
                f"KAD {name} is of {count} embeddings; with fewer than {FEW_EMBEDDINGS}, other items would change it "
                f"much",
                file=sys.stderr,
            )


def _channels_of_data(arguments: argparse.Namespace) -> int:
    """Return 1 if the first items are mono, else 2: the channels of a comparison without models."""
    channels = 1
    for example in itertools.islice(open_dataset(arguments, announces=False), ANCHORS_ITEMS):
        with suppress(AudioDecodeError, OSError), open_item(example["audio"]) as reader:
            channels = max(channels, min(reader.audio_channels, 2))
    return channels


def _warn_of_items_without_class(column: str | None, items: Sequence[Item]) -> None:
    """Say on stderr how many items are in no class of the results."""
    if column is not None and (missing := sum(item.label is None for item in items)):
        print(f"{missing} of {len(items)} items have no {column} and are in no class", file=sys.stderr)


def _speeds(arguments: argparse.Namespace, measurement: Measurement) -> dict[str, dict[str, float]]:
    """Measure the speed of the models on the first clip."""
    rate = measurement.sampling_rate
    clips = Clips(arguments, rate, measurement.audio_channels, announces=False)
    *_, clip = next(clips(lambda _: True, {}))
    return speeds(measurement.systems, clip[:, : round(SPEED_SECONDS * rate)], rate)


def _write(folder: Path, results: Results, described: Mapping[str, Any], text: str) -> None:
    with replacing(folder / "results.json") as hidden:
        hidden.write_text(json.dumps({**described, **results.numbers()}, indent=2) + "\n")
    with replacing(folder / "results.md") as hidden:
        hidden.write_text(text + "\n", errors="backslashreplace")  # names may be no UTF-8
    with replacing(folder / "items.csv") as hidden, open(hidden, "w", errors="backslashreplace") as file:
        write_rows(*results.rows(), file)
    with replacing(folder / "results.png") as hidden:
        rate_quality_figure(results, PANELS).savefig(hidden, format="png", dpi=130)


def measurement_of(arguments: argparse.Namespace, *, announces: bool = False) -> Measurement:
    """Load the models and return the measurement. Each process calls this function."""
    systems = _systems(arguments)
    rate = arguments.sampling_rate or max((s.sampling_rate for s in systems if s.sampling_rate), default=ANCHORS_RATE)
    channels = max((s.audio_channels for s in systems if s.audio_channels), default=0) or _channels_of_data(arguments)
    return Measurement(
        systems,
        [embedding_of(name, sampling_rate=rate) for name in arguments.embeddings],
        partial(_measure, names=tuple(arguments.metrics)),
        rate,
        channels,
        Clips(arguments, rate, channels, announces),
    )


def _check(arguments: argparse.Namespace) -> None:
    check_seconds(arguments.max_seconds)
    check_metrics(arguments.metrics)
    arguments.metrics = list(dict.fromkeys([*SIGNAL_METRICS, *arguments.metrics]))
    arguments.model = arguments.model or [DEFAULT_MODEL]
    check_models(arguments)
    check_output_outside_data(arguments, arguments.dataset_name)
    if arguments.sampling_rate is not None and arguments.sampling_rate < 1:
        raise ValueError(f"--sampling_rate is {arguments.sampling_rate}; give a rate in Hz, such as 44100.")
    if arguments.held_out_share is not None and not 0 < arguments.held_out_share < 1:
        raise ValueError(f"--held_out_share is {arguments.held_out_share}; give a share between 0 and 1, such as 0.1.")
    if arguments.num_processes < 1:
        raise ValueError(f"--num_processes is {arguments.num_processes}; give 1 or more.")
    if arguments.num_processes > (cpus := os.cpu_count() or 1):
        raise ValueError(
            f"--num_processes is {arguments.num_processes}, and this machine has {cpus} CPUs; give at most {cpus}. "
            f"Each process has models of its own in memory."
        )


def _systems(arguments: argparse.Namespace) -> list[System]:
    return [
        AnchorSystem(name) if is_anchor(name) else ModelSystem(shown, load_coder(name, arguments))
        for name, shown in zip(arguments.model, names_in_tables(arguments.model), strict=True)
    ]


def _measure(
    reconstruction: Tensor, original: Tensor, sampling_rate: int, *, names: tuple[str, ...]
) -> dict[str, float]:
    (row,) = measure_reconstruction(reconstruction[None], original[None], sampling_rate, names=names)
    return row


def _settings(arguments: argparse.Namespace, measurement: Measurement) -> dict[str, Any]:
    """Return all settings that decide the results."""
    return {
        "version": __version__,
        "systems": {system.name: system.identity for system in measurement.systems},
        **dataset_identity(arguments),
        "sampling_rate": measurement.sampling_rate,
        "audio_channels": measurement.audio_channels,
        "label_column": arguments.label_column,
        "held_out_share": arguments.held_out_share,
        "metrics": arguments.metrics,
        "embeddings": arguments.embeddings,
    }
