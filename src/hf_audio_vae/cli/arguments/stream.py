"""Encode and decode files block by block like live sound, and report whether the model runs in real time.

For each FILE, writes NAME.stream.wav and prints the algorithmic latency of the model, the computing time per block and
the delay, which is the smallest output latency without gaps in the playback. The number of threads is the fastest of a
trial with the first blocks, unless --threads or OMP_NUM_THREADS names it. For a hierarchy, a single level is streamed.
"""

import argparse

from hf_audio_vae.cli.arguments.shared import add_file_arguments, add_format_argument, add_model_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "streamed")
    add_model_arguments(parser)
    add_format_argument(parser)
    parser.add_argument("--block_seconds", type=float, default=0.02, help="seconds of sound per block")
    parser.add_argument("--threads", type=int, help="threads of the CPU; default the fastest number")
    parser.add_argument("--level", type=int, help="level of a hierarchy; default: the finest, if the model decodes it")
