"""Check a model, and whether files suit it.

Prints one page: the class and sizes of the model, then a line per check, `ok`, `warning` or `error`, with what to do.
Checks weights, whether encoder and decoder belong together, and the statistics of the latents. With FILEs, also the
conversions that they need, clipping and silence, used channels or codes, the scale of their latents against the
statistics, and how far they are from the sound that `statistics` measured. The exit code is 1 if there is an error.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_format_argument, add_location_arguments
from hf_audio_vae.files.location import DEFAULT_MODEL


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help=f"folder or Hub id, such as {DEFAULT_MODEL}")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="sounds, or folders of sounds")
    add_location_arguments(parser)
    add_format_argument(parser)
    parser.add_argument(
        "--max_seconds", type=float, default=60.0, help="maximum length used of each file, from its start"
    )
