"""Describe a VAE's latents on a data set: what each channel carries, which are collapsed, how they are distributed.

Prints a summary, a table of the channels, and a warning if too few of them are active. With --output_dir, writes
latents.png and latents.json there.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from hf_audio_vae.cli.sound import add_dataset_arguments, add_location_arguments, load_model
from hf_audio_vae.data import load_audio_stream, whole_clips
from hf_audio_vae.evaluation import LatentStatistics, collapse_warning, latents_figure
from hf_audio_vae.evaluation.reports import channels_table, metrics_table
from hf_audio_vae.models import AutoencoderModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id")
    add_location_arguments(parser)
    add_dataset_arguments(parser)
    parser.add_argument(
        "--min_active_share", type=float, default=0.5, help="warn if fewer of the channels are active, 0 to 1"
    )
    parser.add_argument("--output_dir", type=Path, help="write latents.png and latents.json here")


def run(arguments: argparse.Namespace) -> None:
    """Carry out the verb."""
    if not 0 <= arguments.min_active_share <= 1:
        raise ValueError(f"--min_active_share is {arguments.min_active_share}; give a share, from 0 to 1.")
    if arguments.output_dir:
        arguments.output_dir.mkdir(parents=True, exist_ok=True)
    model = load_model(arguments.model, arguments)
    statistics, seconds = encode_clips(model, arguments)
    if not seconds:
        raise ValueError(
            f"{arguments.dataset_name!r}, split {arguments.dataset_split!r}, holds no items to encode; check both."
        )
    items = len(seconds)
    print(metrics_table({"value": statistics.summary()}))
    print(f"\n{channels_table(statistics)}\n")
    print(f"measured on `{arguments.dataset_name}`: {items} items, {sum(seconds):.1f} s, {statistics.frames} frames")
    if warning := collapse_warning(statistics, arguments.min_active_share):
        print(f"warning: {warning}")
    if arguments.output_dir:
        material = {"dataset_name": arguments.dataset_name, "dataset_split": arguments.dataset_split}
        origin = {"model": arguments.model, **material, "items": items, "seconds": sum(seconds)}
        write_report(arguments.output_dir, statistics, origin)
        title = f"{Path(arguments.model).name} on {arguments.dataset_name}"
        latents_figure(statistics, title).savefig(arguments.output_dir / "latents.png", dpi=120)
        print(f"picture and numbers are in {arguments.output_dir}")


@torch.no_grad()
def encode_clips(model: AutoencoderModel, arguments: argparse.Namespace) -> tuple[LatentStatistics, list[float]]:
    """Encode the start of every item; -> the latents' statistics and the seconds used of each item."""
    statistics, seconds = LatentStatistics(model.frame_rate), []
    stream = load_audio_stream(arguments.dataset_name, split=arguments.dataset_split)
    for _, clip in whole_clips(
        stream,
        sampling_rate=model.sampling_rate,
        audio_channels=model.config.audio_channels,
        max_seconds=arguments.max_seconds,
    ):
        statistics.add(model.encode(clip[None].to(model.device)).latent_dist)
        seconds.append(clip.shape[-1] / model.sampling_rate)
    return statistics, seconds


def write_report(folder: Path, statistics: LatentStatistics, origin: Mapping[str, object]) -> None:
    """Write latents.json: where the latents come from, and every figure of them, channels in their own order."""
    numbers = {
        "frames": statistics.frames,
        "frame_rate": statistics.frame_rate,
        "summary": statistics.summary(),
        "channels": {name: values.tolist() for name, values in statistics.by_channel().items()},
        "eigenvalues": statistics.eigenvalues.tolist(),
    }
    (folder / "latents.json").write_text(json.dumps({**origin, **numbers}, indent=2) + "\n")
