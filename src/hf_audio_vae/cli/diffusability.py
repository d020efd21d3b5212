"""The `diffusability` command."""

import argparse
import copy
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from hf_audio_vae.cli.arguments.diffusability import LEAST_SEEDS
from hf_audio_vae.cli.arguments.evaluate import DEFAULT_EMBEDDINGS
from hf_audio_vae.cli.clips import check_items
from hf_audio_vae.cli.comparing import (
    check_models,
    check_output_outside_data,
    dataset_identity,
    indexed_clips,
    names_in_tables,
)
from hf_audio_vae.cli.sound import check_seconds, load_coder
from hf_audio_vae.cli.tables import print_json, print_remark, write_rows
from hf_audio_vae.comparison.diffusability import (
    Budget,
    HeldOut,
    References,
    check_systems,
    measure_diffusability,
)
from hf_audio_vae.comparison.run import keep_settings
from hf_audio_vae.comparison.systems import ModelSystem
from hf_audio_vae.evaluation.embeddings import embedding_of
from hf_audio_vae.files import exclusive, replacing
from hf_audio_vae.version import __version__

BUDGET = Budget()
HELD_OUT_PART = 5  # without held-out data, each fifth item of the data set is held out


class Clips:
    """The training clips and the held-out clips.

    Args:
        arguments (`argparse.Namespace`): Arguments of the command.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.skipped: dict[str, str] = {}
        self.count = 0
        self._train, self._held_out = arguments, arguments
        self._is_split = arguments.eval_dataset_name is None
        if not self._is_split:
            self._held_out = held_out_arguments(arguments)

    def train(self, sampling_rate: int, audio_channels: int) -> Iterator[tuple[str, Tensor]]:
        """Yield name and waveform of each training clip."""
        return self._of(self._train, False, sampling_rate, audio_channels)

    def held_out(self, sampling_rate: int, audio_channels: int) -> Iterator[tuple[str, Tensor]]:
        """Yield name and waveform of each held-out clip."""
        return self._of(self._held_out, True, sampling_rate, audio_channels)

    def _of(self, arguments: argparse.Namespace, held_out: bool, rate: int, channels: int) -> Iterator[Any]:
        def wanted(index: int) -> bool:
            return not self._is_split or (index % HELD_OUT_PART == HELD_OUT_PART - 1) == held_out

        found = indexed_clips(arguments, wanted, self.skipped, sampling_rate=rate, audio_channels=channels)
        for _, name, _, clip in found:
            self.count += 1
            yield name, clip


def held_out_arguments(arguments: argparse.Namespace) -> argparse.Namespace:
    """Return the arguments that describe the data set of `--eval_dataset_name`."""
    held_out = copy.copy(arguments)
    held_out.dataset_name = arguments.eval_dataset_name
    for name in ("dataset_config_name", "dataset_revision", "data_files"):  # of the other data set
        setattr(held_out, name, None)
    return held_out


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Return 1 if some items cannot be read."""
    _check(arguments)
    budget = replace(BUDGET, steps=arguments.steps)
    systems = _systems(arguments)
    check_systems(systems)
    clips = Clips(arguments)
    rate = max(system.model.sampling_rate for system in systems)
    channels = max(system.model.config.audio_channels for system in systems)
    # The settings do not name the models: a model can be added, unless it changes the rate of the comparison.
    settings = {**_described(arguments), "budget": asdict(budget), "sampling_rate": rate, "audio_channels": channels}
    with tempfile.TemporaryDirectory() if arguments.output_dir is None else nullcontext() as temporary:
        folder = Path(temporary or arguments.output_dir)
        with exclusive(folder):
            keep_settings(folder, settings)
            found = measure_diffusability(
                systems,
                clips.train,
                partial(_references, clips, budget, rate, channels),
                seeds=arguments.seeds,
                budget=budget,
                folder=folder,
                announce=lambda line: print(line, file=sys.stderr),
            )
            text = f"{found.markdown()}\n\n{_material(arguments, budget)}"
            results = {"settings": settings, "weights": {s.name: s.identity for s in systems}, **found.numbers()}
            if arguments.format == "markdown":
                print(text)
            elif arguments.format == "csv":
                write_rows(["model", "figure", "mean", "low", "high"], found.rows(), sys.stdout)
            else:
                print_json(results)
            if arguments.output_dir is not None:
                _write(folder, results, text)
                print_remark(f"\nwrote results.json and results.md to {folder}", arguments.format)
    return check_items(arguments, clips.count, clips.skipped) if clips.skipped else 0


def _check(arguments: argparse.Namespace) -> None:
    check_seconds(arguments.max_seconds)
    check_models(arguments)
    data, held_out = arguments.dataset_name, arguments.eval_dataset_name
    check_output_outside_data(arguments, data, held_out)
    if held_out is not None and (held_out == data or Path(held_out).resolve() == Path(data).resolve()):
        raise ValueError(
            f"--eval_dataset_name {held_out} is the training data; name held-out data, or leave it out to hold out "
            f"each {HELD_OUT_PART}th item."
        )
    for name, least in (("seeds", LEAST_SEEDS), ("steps", 1)):
        if getattr(arguments, name) < least:
            raise ValueError(f"--{name} is {getattr(arguments, name)}; give {least} or more.")


def _systems(arguments: argparse.Namespace) -> list[ModelSystem]:
    names = names_in_tables(arguments.model)
    return [
        ModelSystem(shown, load_coder(name, arguments)) for name, shown in zip(arguments.model, names, strict=True)
    ]


def _references(clips: Clips, budget: Budget, rate: int, channels: int) -> References:
    held_out = HeldOut.of(clips.held_out(rate, channels), rate, budget)
    return References(held_out, [embedding_of(name, sampling_rate=rate) for name in DEFAULT_EMBEDDINGS])


def _described(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all settings that decide the clips."""
    held_out = dataset_identity(held_out_arguments(arguments)) if arguments.eval_dataset_name else None
    return {"version": __version__, **dataset_identity(arguments), "eval_dataset": held_out}


def _material(arguments: argparse.Namespace, budget: Budget) -> str:
    """Return a line on the data and the length of the training of the denoisers."""
    held_out = arguments.eval_dataset_name
    return (
        f"denoisers trained on `{arguments.dataset_name}` for {budget.steps} steps of {budget.batch} crops of "
        f"{budget.crop_seconds:g} s; measured on "
        + (f"`{held_out}`" if held_out else f"each {HELD_OUT_PART}th item, which they were not trained on")
    )


def _write(folder: Path, results: dict[str, Any], text: str) -> None:
    with replacing(folder / "results.json") as hidden:
        hidden.write_text(json.dumps(results, indent=2) + "\n")
    with replacing(folder / "results.md") as hidden:
        hidden.write_text(text + "\n", errors="backslashreplace")  # names may be no UTF-8
