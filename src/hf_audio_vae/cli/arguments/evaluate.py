"""Measure models on a data set, and compare them with each other and with Opus, MP3 and Vorbis.

Prints a table of all figures. For several systems, it also prints the differences that hold: those whose 95 % interval
excludes 0. With `--output_dir`, it also writes every figure of every item as JSON, the tables as Markdown, and a
picture of quality over bitrate; repeat the command to continue after an interruption. `--format csv` prints a row for
each item and system instead, `--format json` all results.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_format_argument, add_location_arguments
from hf_audio_vae.files.location import DEFAULT_MODEL

METRICS = ("loudness_error_lu", "loudness_range_error_lu", "pesq", "stoi")  # beside those of every comparison
EMBEDDINGS = ("log_mel", "musicnn", "clap", "mert", "encodec")
DEFAULT_EMBEDDINGS = EMBEDDINGS[:2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "--model",
        action="append",
        help="folder, Hub id, or an anchor such as opus@64, mp3@128 or vorbis@96 (kbit/s of all channels); repeat "
        f"this to compare. Default {DEFAULT_MODEL}, a model of this package",
    )
    add_location_arguments(parser)
    add_dataset_arguments(parser)
    add_format_argument(parser)
    parser.add_argument(
        "--label_column", help="also report each class of this column; `label` of a folder is the sub-folder"
    )
    parser.add_argument(
        "--held_out_share",
        type=float,
        help="measure only the items that a training with this `held_out_share` held out of the same data",
    )
    parser.add_argument(
        "--sampling_rate", type=int, help="rate of the comparison in Hz; default the highest of the models"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=[],
        help="additional metrics, which need an extra package: " + ", ".join(METRICS),
    )
    parser.add_argument(
        "--embeddings",
        nargs="*",
        default=list(DEFAULT_EMBEDDINGS),
        help=f"embeddings for the distances between all originals and all reconstructions, of "
        f"{', '.join(EMBEDDINGS)}; default {' '.join(DEFAULT_EMBEDDINGS)}",
    )
    parser.add_argument(
        "--output_dir", type=Path, help="folder for the results; an interrupted command continues from it"
    )
    parser.add_argument(
        "--num_processes", type=int, default=1, help="processes that share the items, at most one for each CPU"
    )
