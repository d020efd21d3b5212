"""Convert a model between this package's format and those of other libraries, with equal weights.

SRC is a folder or a Hub id. It may also be a checkpoint of stable-audio-tools (a file next to `model_config.json`, or
the folder of both), of the descript-audio-codec package (dac), of the encodec package (with the published file name),
or of Jukebox. `oobleck`, `ltx2-audio` and `mmaudio` are classes of diffusers: AutoencoderOobleck,
AutoencoderKLLTX2Audio and MMAudioVAE. DST is a folder, or a file with the suffix of the library: `.safetensors` or
`.ckpt` (stable-audio-tools), `.pth` (dac), `.th` (encodec); jukebox always writes a file. Models that the target
format cannot express are refused. Weights are written in float32.
"""

import argparse
from pathlib import Path

from hf_audio_vae.cli.arguments.shared import add_location_arguments

FORMATS = (
    "hf_audio_vae",
    "oobleck",
    "ltx2-audio",
    "stable-audio-tools",
    "mmaudio",
    "dac",
    "encodec",
    "jukebox",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", metavar="SRC", help="folder, Hub id or checkpoint file")
    parser.add_argument("destination", metavar="DST", type=Path, help="folder or checkpoint file to write")
    parser.add_argument("--from", dest="source_format", choices=FORMATS, required=True, help="format of SRC")
    parser.add_argument("--to", dest="target_format", choices=FORMATS, required=True, help="format of DST")
    parser.add_argument(
        "--config", type=Path, help="configuration of stable-audio-tools; default: the one next to the checkpoint"
    )
    add_location_arguments(parser)
