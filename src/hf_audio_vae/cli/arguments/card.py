"""Write the card of an autoencoder with its use, properties, figures and samples of sound.

Writes README.md into the folder of the model, or into --output_dir. With --results, the figures are those of
`evaluate --output_dir`. Without it, they are those of the last validation, if the folder has them. With --files, the
card has players of these sounds and of their reconstructions, which are written to samples/. Parts that are not given
are kept from an earlier card of this package. Other files are not replaced.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_location_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder, or Hub id with --output_dir")
    add_location_arguments(parser)
    parser.add_argument("--results", type=Path, metavar="results.json", help="file of figures, written by evaluate")
    parser.add_argument("--files", nargs="+", type=Path, metavar="CLIP", default=[], help="sounds for samples/")
    parser.add_argument("--license", help="identifier of the Hub, such as apache-2.0")
    parser.add_argument("--datasets", nargs="+", help="Hub ids of the training data")
    parser.add_argument("--base_model", help="Hub id of the model that was fine-tuned")
    parser.add_argument("--hub_model_id", help="Hub id of the model, for the title and the examples")
    parser.add_argument("--output_dir", type=Path, help="folder for the card; default the folder of the model")
