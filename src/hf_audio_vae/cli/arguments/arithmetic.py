"""Change an attribute of sounds by arithmetic on their latents.

The direction of the attribute is the mean of the latents of the clips of --add minus that of --subtract, or comes from
the labels of a data set, or from a file of --save_vector. Writes a sound for each FILE and each --strength: FILE+1.wav
has the direction added once, FILE-1.wav subtracted. By labels of numbers, 1 is a change of the label by 1.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_model_arguments

OUTPUT_DIR = Path("arithmetic")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="sounds to change")
    add_model_arguments(parser)
    parser.add_argument("--vector", type=Path, help="direction, a file that --save_vector wrote")
    parser.add_argument("--add", nargs="+", type=Path, metavar="CLIP", help="clips with the attribute")
    parser.add_argument("--subtract", nargs="+", type=Path, metavar="CLIP", help="clips without the attribute")
    add_dataset_arguments(parser, required=False)
    parser.add_argument("--label_column", help="column of --dataset_name with the attribute: numbers or names")
    parser.add_argument("--label", help="for a column of names: the direction from the other clips to these")
    parser.add_argument(
        "--orthogonal_to", nargs="+", type=Path, default=[], metavar="VECTOR", help="directions to leave alone"
    )
    parser.add_argument("--strength", nargs="+", type=float, help="how often to add it; default 1")
    parser.add_argument("--save_vector", type=Path, metavar="VECTOR", help="write the direction to this file")
    parser.add_argument("--output_dir", type=Path, help=f"folder for the sounds; default {OUTPUT_DIR}")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
