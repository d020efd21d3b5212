"""Open a browser app for models: reconstruct, compare blindly, morph, sample, generate, inpaint.

The app listens on this machine only, unless --server_name says otherwise. It serves the sounds that it makes, and
deletes them when it ends. Without arguments, it has the model of this package and sounds to begin with.
"""

import argparse
from pathlib import Path

from hf_audio_vae.files.location import DEFAULT_MODEL

PORT = 7860


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        default=[DEFAULT_MODEL],
        help=f"folder or Hub id; default {DEFAULT_MODEL}",
    )
    parser.add_argument("--pipeline", nargs="+", default=[], help="pipelines that generate sound")
    parser.add_argument("--language_model", nargs="+", default=[], help="language models of codes")
    parser.add_argument(
        "--vector", nargs="+", type=Path, default=[], help="files that `arithmetic --save_vector` wrote"
    )
    parser.add_argument("--max_seconds", type=float, default=30.0, help="longest sound that is accepted or generated")
    parser.add_argument("--max_megabytes", type=float, default=50.0, help="largest file that is accepted")
    parser.add_argument("--server_name", default="127.0.0.1", help="address; 0.0.0.0 for all networks of this machine")
    parser.add_argument("--server_port", type=int, help=f"port; default the first free one from {PORT}")
