"""Draw a map of sounds: a point for each clip, clips that sound alike to the model near each other.

A clip is the mean and the standard deviation of its latents over the frames, each divided by its standard deviation
over all clips. Codes are mapped by their quantized latents. Writes a picture (map.png), coordinates and nearest
neighbours (map.json), and a page that plays the sounds (map.html), which needs no network. Classes are the values of
--label_column, or the names of the folders of the files if there are several.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_dataset_arguments, add_model_arguments

PROJECTIONS = ("pca", "umap")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("sounds", nargs="*", type=Path, metavar="SOUND", help="sounds, or folders of data sets")
    add_model_arguments(parser)
    parser.add_argument("--autoencoder", help="codec of a TokenVAE, folder or Hub id, if its path has changed")
    add_dataset_arguments(parser, required=False)
    parser.add_argument("--label_column", help="column with the classes; default the folders of the files")
    parser.add_argument(
        "--projection",
        choices=PROJECTIONS,
        default="pca",
        help="principal axes, or UMAP (extra `umap`), which keeps neighbours together but no distances; default pca",
    )
    parser.add_argument("--neighbours", type=int, default=5, help="nearest clips that are listed; default 5")
    parser.add_argument(
        "--preview_seconds", type=float, default=3.0, help="length of a sound on the page; 0 for a page without sound"
    )
    parser.add_argument("--output_dir", type=Path, default=Path("map"))
    parser.add_argument("--overwrite", action="store_true", help="replace existing files in the output folder")
