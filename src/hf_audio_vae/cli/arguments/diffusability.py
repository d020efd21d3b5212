"""Measure how well a small diffusion model learns the latents of models, and compare the models.

A denoiser of fixed size is trained on the latents of each model, with equal steps, seconds of sound and seeds. Prints
its gain over a linear predictor on held-out clips, and the distances of generated sounds and of reconstructions from
held-out sounds. Figures of the denoiser and of generated sounds are means over seeds with intervals. With
--output_dir, it also writes the figures as JSON and Markdown; repeat the command to continue after an interruption.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_format_argument, add_location_arguments

LEAST_SEEDS = 3
STEPS = 500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--model", action="append", required=True, help="folder or Hub id; repeat this to compare")
    add_location_arguments(parser)
    add_dataset_arguments(parser)
    add_format_argument(parser)
    parser.add_argument(
        "--eval_dataset_name",
        help="held-out data set with the same split and column; default each fifth item of --dataset_name",
    )
    parser.add_argument("--seeds", type=int, default=LEAST_SEEDS, help="number of denoisers for each model, 3 or more")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps of each denoiser")
    parser.add_argument(
        "--output_dir", type=Path, help="folder for the results; an interrupted command continues from it"
    )
