"""Export a model's encoder and decoder to files that run without this package.

MODEL is a folder or a Hub id. The files are encoder.onnx and decoder.onnx, or with --format torch encoder.pt2 and
decoder.pt2, for `torch.export.load`. A hierarchy that decodes each level separately has decoder_0 and so on. The
graphs are in float32. They accept any batch size, and any length of at least `min_frames`. Their metadata has
`min_frames`, names and shapes of inputs and outputs, sampling rate, hop length, latent statistics, codebook sizes, and
a fingerprint of the weights. In ONNX files each metadata value is JSON. Exported files are run, and deleted if their
output differs from the model's.
"""

import argparse
import logging
import sys
from pathlib import Path

from hf_audio_vae.cli.sound import add_location_arguments, load_model
from hf_audio_vae.models.exporting import export_model
from hf_audio_vae.models.graph_files import ONNX, TORCH

FORMATS = {"onnx": ONNX, "torch": TORCH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id")
    parser.add_argument("--format", choices=FORMATS, default="onnx", help="format of the files; default onnx")
    parser.add_argument("--output_dir", type=Path, default=Path("exported"))
    parser.add_argument("--overwrite", action="store_true", help="replace existing files in the output folder")
    add_location_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.torch_dtype not in (None, "float32"):
        raise ValueError(
            f"--torch_dtype is {arguments.torch_dtype}, but graphs are in float32, so that only weights would be "
            f"rounded; leave it out, and convert the exported files."
        )
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # hides a warning about missing torchvision
    model = load_model(arguments.model, arguments)
    files = export_model(
        model, arguments.output_dir, file_format=FORMATS[arguments.format], overwrite=arguments.overwrite
    )
    for path, differences in files.items():
        summary = ", ".join(f"{name} {difference:.1e}" for name, difference in differences.items())
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, difference from the model: {summary}")
    if model.decodes_sample_by_sample:
        print("there is no decoder: it draws one sample after another, which a graph cannot", file=sys.stderr)
