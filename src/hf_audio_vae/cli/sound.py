"""What the verbs share: a model on the best device, and waveforms that fit it, never changed in silence."""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from hf_audio_vae.audio import AudioDecodeError, convert_channels, read_audio, resample
from hf_audio_vae.models import AutoencoderModel, load_autoencoder


def add_file_arguments(parser: argparse.ArgumentParser, output_dir: str) -> None:
    """Declare the files a verb reads and the folder it writes to."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--output_dir", type=Path, default=Path(output_dir))


def add_model_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare what `load_model` reads."""
    parser.add_argument("--model", required=required, help="folder or Hub id")
    add_location_arguments(parser)


def add_location_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what else than a model's name `load_model` reads."""
    parser.add_argument("--subfolder", help="subfolder of the model, `vae` in a pipeline")
    parser.add_argument("--revision", help="version of a Hub model")


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the data set a verb goes through."""
    parser.add_argument("--dataset_name", required=True, help="Hub id, or a folder of audio, parquet or tar files")
    parser.add_argument("--dataset_split", default="train")
    parser.add_argument("--max_seconds", type=float, default=30.0, help="how much of each item to use")


def load_model(name: str, arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a model in evaluation mode.

    Raises:
        ValueError: There is no such model, or it is of a class unknown here.
    """
    try:
        model = load_autoencoder(name, subfolder=arguments.subfolder, revision=arguments.revision)
    except OSError as error:
        raise ValueError(f"no model can be loaded from {name!r}; name a folder or a Hub id. {error}") from error
    return model.eval()


def to_best_device(model: AutoencoderModel) -> None:
    """Move a model to the GPU, if there is one."""
    nn.Module.to(model, "cuda" if torch.cuda.is_available() else "cpu")


def load_coder(name: str, arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a model to code long sound with: tiled and fused if it can be, on the GPU if there is one.

    Raises:
        ValueError: As `load_model`.
    """
    model = load_model(name, arguments)
    try:
        model.enable_tiling()
    except ValueError as error:  # there are layers that see all of the sound
        print(f"{name}: files are coded as a whole. {error}", file=sys.stderr)
    to_best_device(model)
    model.fuse()
    return model


def read_for(model: AutoencoderModel, path: Path) -> Tensor:
    """Read a file as the model wants it, (audio_channels, time); what is changed for that is told on stderr.

    Raises:
        ValueError: The file cannot be decoded, or its channels cannot be converted.
        OSError: It cannot be opened.
    """
    try:
        waveform, sampling_rate = read_audio(path)
        converted = convert_channels(waveform, model.config.audio_channels)
    except AudioDecodeError as error:
        raise ValueError(f"{path} {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if len(waveform) != len(converted):
        how = "mean" if len(converted) == 1 else "copy in each"
        print(f"{path.name}: {len(waveform)} channels -> {len(converted)} ({how})", file=sys.stderr)
    if sampling_rate != model.sampling_rate:
        print(f"{path.name}: {sampling_rate} Hz -> {model.sampling_rate} Hz", file=sys.stderr)
    fitting = resample(converted, sampling_rate, model.sampling_rate)
    if not fitting.numel() or not bool(torch.isfinite(fitting).all()):
        raise ValueError(f"{path}: it holds NaN or infinite samples, or is too short for one at the model's rate.")
    return fitting


def unique_stems(paths: list[Path]) -> dict[Path, str]:
    """Name the output of each file by its stem.

    Raises:
        ValueError: Two files have the same stem, so that one output would replace the other.
    """
    stems = {path: path.stem for path in paths}
    if len(set(stems.values())) < len(paths):
        raise ValueError("two of the files have the same name; give them in separate calls, or rename one.")
    return stems
