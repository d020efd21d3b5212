"""Measure how far a folder of generated sounds is from a data set: distances between sets of embeddings.

Prints KAD and, with enough embeddings, FAD, and beside them the distances of the two halves of the data set from each
other (every second item is in the same half). At these distances, the embedding does not distinguish generated sounds
from the data. All sounds are mixed to mono. FAD is higher for fewer embeddings, so compare values of equally many.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.evaluate import DEFAULT_EMBEDDINGS, EMBEDDINGS
from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_format_argument


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("generated", metavar="GENERATED", type=Path, help="folder of generated sounds")
    add_dataset_arguments(parser)
    parser.add_argument("--sampling_rate", type=int, default=24000, help="rate of the comparison in Hz; default 24000")
    parser.add_argument(
        "--embeddings",
        nargs="+",
        choices=EMBEDDINGS,
        default=list(DEFAULT_EMBEDDINGS),
        help=f"default {' '.join(DEFAULT_EMBEDDINGS)}",
    )
    add_format_argument(parser)
