"""Helpers of the commands: load a model to the best device, and read waveforms that fit it."""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from hf_audio_vae.audio import AudioDecodeError, convert_channels, read_audio, resample
from hf_audio_vae.models import AutoencoderModel, load_autoencoder
from hf_audio_vae.modules.pretrained import DTYPES


def add_file_arguments(parser: argparse.ArgumentParser, output_dir: str) -> None:
    """Declare the input files and the output folder of a command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--output_dir", type=Path, default=Path(output_dir))


def add_model_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare the arguments of `load_model`."""
    parser.add_argument("--model", required=required, help="folder or Hub id")
    add_location_arguments(parser)


def add_location_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `load_model` other than the model's name."""
    parser.add_argument("--subfolder", help="subfolder of the model, `vae` in a pipeline")
    parser.add_argument("--revision", help="version of a Hub model")
    parser.add_argument("--variant", help="variant of the weights, such as `fp16`")
    parser.add_argument("--torch_dtype", choices=sorted(DTYPES), help="dtype of the weights; default float32")


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the data set of a command."""
    parser.add_argument("--dataset_name", required=True, help="Hub id, or a folder of audio, parquet or tar files")
    parser.add_argument("--dataset_split", default="train")
    parser.add_argument(
        "--max_seconds", type=float, default=30.0, help="maximum length used of each item, from its start"
    )


def load_model(name: str, arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a model in evaluation mode.

    Raises:
        ValueError: There is no such model, or its class is unknown.
    """
    try:
        model = load_autoencoder(
            name,
            subfolder=arguments.subfolder,
            revision=arguments.revision,
            variant=arguments.variant,
            torch_dtype=arguments.torch_dtype,
        )
    except OSError as error:
        raise ValueError(f"no model can be loaded from {name!r}; name a folder or a Hub id. {error}") from error
    return model.eval()


def to_best_device(model: AutoencoderModel) -> None:
    """Move a model to the GPU, if there is one."""
    nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")


def load_coder(name: str, arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a model for coding long sounds: tiled and fused if possible, on the GPU if there is one.

    Raises:
        ValueError: See `load_model`.
    """
    model = load_model(name, arguments)
    try:
        model.enable_tiling()
    except ValueError as error:  # layers with an unlimited receptive field
        print(f"{name}: files are coded as a whole. {error}", file=sys.stderr)
    to_best_device(model)
    model.fuse()
    return model


def read_for(model: AutoencoderModel, path: Path) -> Tensor:
    """Read a file with the model's sampling rate and channels, (audio_channels, time); print conversions on stderr.

    Raises:
        ValueError: The file cannot be decoded, or its channels cannot be converted.
        OSError: The file cannot be opened.
    """
    try:
        waveform, sampling_rate = read_audio(path)
        converted = convert_channels(waveform, model.config.audio_channels)
    except AudioDecodeError as error:
        raise ValueError(f"{path} {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if len(waveform) != len(converted):
        method = "mean" if len(converted) == 1 else "copy in each"
        print(f"{path.name}: {len(waveform)} channels -> {len(converted)} ({method})", file=sys.stderr)
    if sampling_rate != model.sampling_rate:
        print(f"{path.name}: {sampling_rate} Hz -> {model.sampling_rate} Hz", file=sys.stderr)
    resampled = resample(converted, sampling_rate, model.sampling_rate)
    if not resampled.numel() or not bool(torch.isfinite(resampled).all()):
        raise ValueError(f"{path}: it has NaN or infinite samples, or is shorter than one sample at the model's rate.")
    return resampled


def unique_stems(paths: list[Path]) -> dict[Path, str]:
    """Name the output of each file by its stem.

    Raises:
        ValueError: Two files have the same stem, so one output would replace the other.
    """
    stems = {path: path.stem for path in paths}
    if len(set(stems.values())) < len(paths):
        raise ValueError("two of the files have the same name; give them in separate calls, or rename one.")
    return stems
