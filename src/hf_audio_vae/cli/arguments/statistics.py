"""Measure the latents of a model on a data set, for normalisation and for samples.

Encodes the start of each item. Writes mean and standard deviation of each channel into the config of the model, where
training and pipelines read them, and latent_prior.safetensors into its folder, with which `sample` draws latents and
`doctor` compares the latents of a file. Every tenth item is not measured but calibrates that comparison. Statistics
in the config are replaced only with --overwrite, as a denoiser may depend on them; so is the file.
"""

import argparse

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_format_argument, add_location_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder of the model")
    add_location_arguments(parser)
    add_dataset_arguments(parser)
    add_format_argument(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing statistics")
