"""Decode latents or codes written by `encode` to sound files.

The model is the one named in the file, unless --model is given. Its weights and its configuration
must be those that encoded the file.
"""

import argparse

from hf_audio_vae.cli.arguments.shared import add_file_arguments, add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "decoded", "files of `encode`, or folders of them")
    add_model_arguments(parser, default=None)
