"""Export a model's encoder and decoder to files that run without this package.

MODEL is a folder or a Hub id. The files are encoder.onnx and decoder.onnx, or with --format torch encoder.pt2 and
decoder.pt2, for `torch.export.load`. A hierarchy that decodes each level separately has decoder_0 and so on. The
graphs are in float32. They accept any batch size, and any length of at least `min_frames`. Their metadata has
`min_frames`, names and shapes of inputs and outputs, sampling rate, hop length, latent statistics, codebook sizes, and
a fingerprint of the weights. In ONNX files each metadata value is JSON. Exported files are run, and deleted if their
output differs from the model's.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_location_arguments

FORMATS = ("onnx", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="format of the files; default onnx")
    parser.add_argument("--output_dir", type=Path, default=Path("exported"))
    parser.add_argument("--overwrite", action="store_true", help="replace existing files in the output folder")
    add_location_arguments(parser)
