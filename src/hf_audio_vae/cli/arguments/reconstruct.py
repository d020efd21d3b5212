"""Encode and decode files: sound, spectrograms and a table of metrics.

For each FILE, writes NAME.original.wav and NAME.reconstruction.wav at the model's rate and channels, and NAME.png with
the spectrograms of both and of the residual.
"""

import argparse

from hf_audio_vae.cli.arguments.shared import add_file_arguments, add_format_argument, add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "reconstructions")
    add_model_arguments(parser)
    add_format_argument(parser)
