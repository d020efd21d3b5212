"""Interpolate between sounds in the latents of a VAE: a path of sounds, or one sound that moves along it.

Writes --num_waveforms sounds at even steps of the path through all FILEs. The first and the last are the
reconstructions of the first and the last FILE. With --moving, writes one sound that begins as the first FILE and ends
as the last.

Sounds of different lengths are stretched to a length in between, or the shorter one is looped. With --align warp,
corresponding frames are found by dynamic time warping, and the timing itself is interpolated.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_model_arguments

ALIGNMENTS = ("stretch", "loop", "warp")
METHODS = ("linear", "spherical")
NUM_WAVEFORMS = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="two sounds or more")
    add_model_arguments(parser)
    parser.add_argument(
        "--num_waveforms", type=int, help=f"sounds on the path, at least as many as FILEs; default {NUM_WAVEFORMS}"
    )
    parser.add_argument("--moving", action="store_true", help="write one sound that moves from the first to the last")
    parser.add_argument("--align", choices=ALIGNMENTS, default="stretch", help="what is done with the lengths")
    parser.add_argument("--method", choices=METHODS, default="linear", help="interpolation of a frame")
    parser.add_argument("--output_dir", type=Path, default=Path("morphs"))
    parser.add_argument("--overwrite", action="store_true", help="replace existing files in the output folder")
