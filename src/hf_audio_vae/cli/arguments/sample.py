"""Decode samples of the measured latents of a model.

The prior is what `statistics` measured: `autoregressive` is a Gaussian process with the covariances of neighbouring
frames, `gaussian` and `mixture` have independent frames, and so has `standard`, N(0, I) in the normalised space of
the model. None of them is a trained generator: they show what a model decodes from noise of the right statistics.
Writes a .wav file per sound.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_location_arguments
from hf_audio_vae.files.location import DEFAULT_MODEL

PRIORS = ("standard", "gaussian", "autoregressive", "mixture")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", default=DEFAULT_MODEL, help=f"folder or Hub id; default {DEFAULT_MODEL}"
    )
    add_location_arguments(parser)
    parser.add_argument("--num_waveforms", type=int, default=4, help="number of sounds")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a sound")
    parser.add_argument("--prior", choices=PRIORS, default="autoregressive", help="distribution of the latents")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="factor of the deviations from the mean of the latents"
    )
    parser.add_argument(
        "--truncation", type=float, help="largest norm of the noise of a frame, 1 for the typical one; default none"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, default=Path("samples"))
    parser.add_argument("--overwrite", action="store_true", help="replace existing files in the output folder")
