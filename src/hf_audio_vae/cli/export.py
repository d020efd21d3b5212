"""Export a model's encoder and decoder to files that run without this package.

MODEL is a folder or a Hub id. The files are encoder.onnx and decoder.onnx, or with --format torch encoder.pt2 and
decoder.pt2, for `torch.export.load`; a hierarchy whose levels are decoded by themselves has decoder_0 and so on. They
take batches of any size, and any length from `min_frames` on. That stands in their metadata, as do names and shapes of
inputs and outputs, sampling rate, hop length, statistics of the latents, sizes of the codebooks, and a fingerprint of
the weights; in ONNX files each value is JSON. Files that differ from the model when they are run are not kept.
"""

import argparse
import logging
from pathlib import Path

from hf_audio_vae.cli.sound import add_location_arguments, load_model
from hf_audio_vae.models.exporting import export_model
from hf_audio_vae.models.graph_files import ONNX, TORCH

FORMATS = {"onnx": ONNX, "torch": TORCH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="format of the files; default onnx")
    parser.add_argument("--output_dir", type=Path, default=Path("exported"))
    add_location_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Carry out the verb."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that there is no torchvision
    model = load_model(arguments.model, arguments)
    for path, differences in export_model(model, arguments.output_dir, file_format=FORMATS[arguments.format]).items():
        told = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, off the model by: {told}")
