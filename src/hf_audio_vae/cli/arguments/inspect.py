"""Describe a model's latents or codes on a data set.

For a VAE: information, collapse and distribution of each latent channel. For a TokenVAE: the same of the latents of
its codec's codes, in windows. For a codec: usage, entropy and bitrate efficiency of each codebook. Prints a summary, a
table of channels or codebooks, and a warning if too few channels or codes are used. With --output_dir, writes
latents.png and latents.json there, or codes.png and codes.json. Existing files, such as the record of encoded latents,
are replaced only with --overwrite.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_format_argument, add_location_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id")
    add_location_arguments(parser)
    add_dataset_arguments(parser)
    add_format_argument(parser)
    parser.add_argument(
        "--min_active_share",
        type=float,
        default=0.5,
        help="warn below this share of active channels, or of used codes of a codebook, 0 to 1",
    )
    parser.add_argument("--autoencoder", help="codec of a TokenVAE, folder or Hub id, if its path has changed")
    parser.add_argument("--output_dir", type=Path, help="folder for a figure and the statistics")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files in the output folder")
