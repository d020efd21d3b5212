"""Merge an adapter (LoRA) into the model that it was trained on, and write the whole model.

ADAPTER is a folder or a Hub id. The result has the class, the configuration and the names of weights of the original
model, so that the library of that model loads it.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("adapter", metavar="ADAPTER", help="folder or Hub id of the adapter")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write; new or empty")
    add_model_arguments(parser, default=None)
