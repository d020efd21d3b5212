"""Evaluate a model on a data set, print a table, optionally write a model card."""

import argparse
import os
import time
from pathlib import Path

import torch

from hf_audio_vae.cli.clips import check_items, read_clips
from hf_audio_vae.cli.outputs import check_writable
from hf_audio_vae.cli.sound import (
    add_dataset_arguments,
    add_model_arguments,
    check_finite,
    check_seconds,
    load_coder,
)
from hf_audio_vae.evaluation.health import health_of
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.evaluation.reports import is_model_card, metrics_table, model_card, model_summary
from hf_audio_vae.files import replacing
from hf_audio_vae.models.lora import LoraAdapter, is_adapter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_model_arguments(parser)
    add_dataset_arguments(parser)
    parser.add_argument("--card", type=Path, help="file to write a model card to; replaces only a model card")


@torch.no_grad()
def run(arguments: argparse.Namespace) -> int:
    """Run the command; 1 if some items cannot be read."""
    if arguments.card and (arguments.card.is_dir() or not arguments.card.parent.is_dir()):
        raise ValueError(
            f"--card {arguments.card} is a folder, or its parent folder does not exist; pass a file in a folder."
        )
    if arguments.card and os.path.lexists(arguments.card) and not is_model_card(arguments.card):
        raise ValueError(f"--card {arguments.card} exists and is not a model card; pass another file.")
    if arguments.card:
        check_writable(arguments.card.parent, "--card in")
    check_seconds(arguments.max_seconds)
    model = load_coder(arguments.model, arguments)
    skipped: dict[str, str] = {}
    rows: list[dict[str, float]] = []
    health = health_of(model)
    sound_seconds = busy_seconds = 0.0
    for name, clip in read_clips(model, arguments, skipped):
        started = time.perf_counter()
        output = model(clip[None].to(model.device))
        reconstruction = output.sample.cpu()  # waits for a GPU to finish
        busy_seconds += time.perf_counter() - started
        check_finite(name, reconstruction, *output.losses.values())
        sound_seconds += clip.shape[-1] / model.sampling_rate
        rows.append(measure(reconstruction, clip[None], output.losses, model.sampling_rate))
        health.add(output)
    code = check_items(arguments, len(rows), skipped)
    means = mean_metrics(rows) | health.summary()
    print(metrics_table({"mean": means | {"real_time_factor": sound_seconds / busy_seconds}}))
    material = f"`{arguments.dataset_name}`: {len(rows)} items, {sound_seconds:.1f} s"
    print(f"measured on {material}")
    if arguments.card:
        card = model_card(
            title=Path(arguments.model).name,
            model_class=model.published_class,
            library=model.library_name,
            summary=model_summary(model),
            metrics=means,
            material=material,
            base_model=adapted_model(arguments),
        )
        with replacing(arguments.card) as hidden:
            hidden.write_text(card, errors="backslashreplace")  # names may be no UTF-8
        print(f"the card is {arguments.card}")
    return code


def adapted_model(arguments: argparse.Namespace) -> str | None:
    """Return the model that an adapter was merged into, for its card; `None` if the model is no adapter."""
    location = {"subfolder": arguments.subfolder, "revision": arguments.revision}
    if not is_adapter(arguments.model, **location):
        return None
    base = LoraAdapter.from_pretrained(arguments.model, **location).base
    return base.name if base else None
