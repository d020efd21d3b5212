"""The `export` command."""

import argparse
import logging
import sys

from hf_audio_vae.cli.sound import load_model
from hf_audio_vae.models.exporting import export_model
from hf_audio_vae.models.graph_files import ONNX, TORCH

FORMATS = {"onnx": ONNX, "torch": TORCH}


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
