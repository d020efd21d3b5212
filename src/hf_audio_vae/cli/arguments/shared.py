"""Arguments that several commands have."""

import argparse
from pathlib import Path

from hf_audio_vae.files.location import DEFAULT_MODEL

DTYPES = ("bfloat16", "float16", "float32", "float64")


def add_file_arguments(
    parser: argparse.ArgumentParser, output_dir: str, kind: str = "sounds, or folders of sounds"
) -> None:
    """Declare the input files and the output folder of a command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=kind)
    parser.add_argument("--output_dir", type=Path, default=Path(output_dir))
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files in the output folder that were made from other inputs"
    )


def add_model_arguments(parser: argparse.ArgumentParser, *, default: str | None = DEFAULT_MODEL) -> None:
    """Declare the arguments of `load_model`."""
    described = "the model named in the file" if default is None else f"{default}, a model of this package"
    parser.add_argument("--model", default=default, help=f"folder or Hub id; default {described}")
    add_location_arguments(parser)


def add_location_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `load_model` other than the model's name."""
    parser.add_argument("--subfolder", help="subfolder of the model, `vae` in a pipeline")
    parser.add_argument("--revision", help="version of a Hub model")
    parser.add_argument("--variant", help="variant of the weights, such as `fp16`")
    parser.add_argument("--torch_dtype", choices=DTYPES, help="dtype of the weights; default float32")


def add_format_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the format of a table."""
    parser.add_argument(
        "--format",
        choices=("markdown", "csv", "json"),
        default="markdown",
        help="form of the table on stdout; csv and json have all digits, and other lines go to stderr",
    )


def add_dataset_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare the data set of a command."""
    parser.add_argument("--dataset_name", required=required, help="Hub id, or a folder of audio, parquet or tar files")
    parser.add_argument("--dataset_config_name", help="configuration of the data set")
    parser.add_argument("--dataset_split", default="train", help="split; a folder of audio has one, `train`")
    parser.add_argument("--dataset_revision", help="version of a Hub data set")
    parser.add_argument("--data_files", nargs="+", help="files of the folder: paths or patterns")
    parser.add_argument("--audio_column", help="column of audio, bytes or paths; default the only audio column")
    parser.add_argument(
        "--max_seconds", type=float, default=30.0, help="maximum length used of each item, from its start"
    )
