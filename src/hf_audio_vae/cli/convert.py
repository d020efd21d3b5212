"""Convert a model between this package's format and those of other libraries, with equal weights.

SRC is a folder or a Hub id; with --from stable-audio-tools, a checkpoint file or a folder with `model.safetensors` or
`model.ckpt`, and the `model_config.json` beside it. DST is a folder; with --to stable-audio-tools, a `.safetensors` or
`.ckpt` file too. What the target cannot express is refused, and weights are written in float32.
"""

import argparse
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from hf_audio_vae.cli.sound import add_location_arguments, load_model
from hf_audio_vae.models import FAMILIES, AutoencoderModel, WaveformVAE
from hf_audio_vae.models.waveform_vae.convert_stable_audio_tools import (
    load_stable_audio_tools,
    save_stable_audio_tools,
)
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import to_oobleck


@dataclass(frozen=True)
class Format:
    """A library's way of saving models.

    Args:
        read (`Callable`): Load the model that the verb's arguments name.
        write (`Callable`): Save a model at a path where nothing is.
        options (`Set[str]`): Which of the verb's options `read` heeds.
    """

    read: Callable[[argparse.Namespace], AutoencoderModel]
    write: Callable[[AutoencoderModel, Path], None]
    options: Set[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("source", metavar="SRC", help="folder, Hub id or checkpoint file")
    parser.add_argument("destination", metavar="DST", type=Path, help="folder or checkpoint file to write")
    parser.add_argument("--from", dest="source_format", choices=FORMATS, required=True, help="what SRC is")
    parser.add_argument("--to", dest="target_format", choices=FORMATS, required=True, help="what DST shall be")
    parser.add_argument("--config", type=Path, help="stable-audio-tools' configuration, if not beside the checkpoint")
    add_location_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Carry out the verb."""
    source, destination = FORMATS[arguments.source_format], arguments.destination
    if arguments.source_format == arguments.target_format:
        raise ValueError(f"--from and --to are both {arguments.source_format}; copy the files instead.")
    for option in ("config", "subfolder", "revision"):
        if getattr(arguments, option) is not None and option not in source.options:
            raise ValueError(f"--{option} has no meaning with --from {arguments.source_format}; leave it out.")
    if destination.is_file() or (destination.is_dir() and any(destination.iterdir())):
        raise ValueError(f"{destination} exists and is not empty; name another destination.")
    model = source.read(arguments)
    FORMATS[arguments.target_format].write(model, destination)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{destination}: {arguments.target_format}, {millions:.1f} M parameters, {model.sampling_rate} Hz")


def read_own(arguments: argparse.Namespace) -> AutoencoderModel:
    """Load what a family of this package saved."""
    check_class(arguments, FAMILIES.keys())
    return load_model(arguments.source, arguments)


def read_oobleck(arguments: argparse.Namespace) -> AutoencoderModel:
    """Load what diffusers saved.

    Raises:
        ValueError: There is no such model, or its encoder is not as wide as its latents have parameters.
    """
    config = check_class(arguments, {"AutoencoderOobleck"})
    width, latent_channels = config.get("encoder_hidden_size", 128), config.get("decoder_input_channels", 64)
    if width != 2 * latent_channels:
        raise ValueError(
            f"{arguments.source} has an `encoder_hidden_size` of {width}, so that it encodes to {width / 2:g} latent "
            f"channels, and decodes {latent_channels}; a WaveformVAE decodes what it encodes."
        )
    return load_model(arguments.source, arguments)


def read_stable_audio_tools(arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a checkpoint."""
    return load_stable_audio_tools(arguments.source, config=arguments.config)


def check_class(arguments: argparse.Namespace, names: Set[str]) -> dict[str, int]:
    """Return the saved configuration, after a look whether it is one of these classes.

    Raises:
        ValueError: There is no such model, or it is of another class.
    """
    place = {"subfolder": arguments.subfolder, "revision": arguments.revision}
    try:
        config = WaveformVAE.load_config(arguments.source, **place)
    except OSError as error:
        raise ValueError(f"no model can be loaded from {arguments.source!r}; name a folder or a Hub id.") from error
    if config.get("_class_name") not in names:
        raise ValueError(
            f"{arguments.source} holds {config.get('_class_name')}, not {' or '.join(names)}; name the format it has "
            f"with --from."
        )
    return config


FORMATS = {
    "hf_audio_vae": Format(read_own, lambda model, path: model.save_pretrained(path), {"subfolder", "revision"}),
    "oobleck": Format(
        read_oobleck, lambda model, path: to_oobleck(model).save_pretrained(path), {"subfolder", "revision"}
    ),
    "stable-audio-tools": Format(read_stable_audio_tools, save_stable_audio_tools, {"config"}),
}
