"""The `convert` command."""

import argparse
from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Audio, MMAudioVAE

from hf_audio_vae.cli.outputs import check_new_folder
from hf_audio_vae.cli.sound import check_model_files, load_model
from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.files.weights import check_finite_weights
from hf_audio_vae.models import (
    FAMILIES,
    AutoencoderModel,
    HierarchicalVQVAE,
    SpectrogramVAE,
    WaveformVAE,
    WaveformVQVAE,
    saved_class,
    saved_config,
)
from hf_audio_vae.models.hierarchical_vqvae.convert_jukebox import load_jukebox, save_jukebox
from hf_audio_vae.models.spectrogram_vae.convert_ltx2_audio import from_ltx2_audio, to_ltx2_audio
from hf_audio_vae.models.spectrogram_vae.convert_mmaudio import from_mmaudio, to_mmaudio
from hf_audio_vae.models.waveform_vae.convert_stable_audio_tools import (
    load_stable_audio_tools,
    save_stable_audio_tools,
)
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import to_oobleck
from hf_audio_vae.models.waveform_vqvae.convert_dac import load_dac, save_dac, to_dac
from hf_audio_vae.models.waveform_vqvae.convert_encodec import load_encodec, save_encodec, to_encodec


@dataclass(frozen=True)
class Format:
    """Model format of a library.

    Args:
        read (`Callable`): Load the model named by the command line arguments.
        write (`Callable`): Save a model to a path that is unused or an empty folder.
        options (`Set[str]`): Command line options that `read` uses.
        family (`type`, *optional*): The only model family with this format; `None` for all.
    """

    read: Callable[[argparse.Namespace], AutoencoderModel]
    write: Callable[[Any, Path], None]
    options: Set[str] = frozenset()
    family: type[AutoencoderModel] | None = None


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    source, target, destination = (
        FORMATS[arguments.source_format],
        FORMATS[arguments.target_format],
        arguments.destination,
    )
    if arguments.source_format == arguments.target_format:
        raise ValueError(f"--from and --to are both {arguments.source_format}; copy the files instead.")
    for option in ("config", "subfolder", "revision", "variant", "torch_dtype"):
        if getattr(arguments, option) is not None and option not in source.options:
            raise ValueError(f"--{option} has no effect with --from {arguments.source_format}; leave it out.")
    check_new_folder(destination)
    check_model_files(arguments.source, arguments.subfolder)
    model = source.read(arguments)
    check_finite_weights(arguments.source, model)
    if target.family and not isinstance(model, target.family):
        raise ValueError(
            f"{arguments.source} is a {type(model).__name__}, and {arguments.target_format} supports only "
            f"{target.family.__name__} models; name another format with --to."
        )
    target.write(model, destination)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(f"{destination}: {arguments.target_format}, {millions:.1f} M parameters, {model.sampling_rate} Hz")


def read_own(arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a model in this package's format."""
    check_class(arguments, FAMILIES.keys())
    return load_model(arguments.source, arguments)


def write_own(model: Any, path: Path) -> None:
    """Write a model in this package's format, also one that was read from a folder of diffusers' class."""
    model.published_format = None
    model.save_published(path)


def read_oobleck(arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a model saved by diffusers.

    Raises:
        ValueError: There is no such model, or the encoder width is not twice the number of latent channels.
    """
    check_class(arguments, {"AutoencoderOobleck"})
    config = saved_config(arguments.source, subfolder=arguments.subfolder, revision=arguments.revision)
    width, latent_channels = config.get("encoder_hidden_size", 128), config.get("decoder_input_channels", 64)
    if width != 2 * latent_channels:
        raise ValueError(
            f"{arguments.source} has an `encoder_hidden_size` of {width}, so that it encodes to {width / 2:g} latent "
            f"channels, but it decodes {latent_channels}; a WaveformVAE needs equal numbers."
        )
    return load_model(arguments.source, arguments)


def read_diffusers(
    model_class: type[Any], convert: Callable[[Any], AutoencoderModel], arguments: argparse.Namespace
) -> AutoencoderModel:
    """Load a model saved by diffusers and convert it; `ValueError` if there is none, or a family cannot express it."""
    check_class(arguments, {model_class.__name__})
    location = {name: value for name in LOCATION if (value := getattr(arguments, name)) is not None}
    return convert(load_checked(model_class, arguments.source, torch_dtype=torch.float32, **location))


def read_stable_audio_tools(arguments: argparse.Namespace) -> AutoencoderModel:
    """Load a checkpoint of stable-audio-tools."""
    return load_stable_audio_tools(arguments.source, config=arguments.config)


def read_codec(
    load: Callable[[str], AutoencoderModel], class_name: str, arguments: argparse.Namespace
) -> AutoencoderModel:
    """Load a codec from a checkpoint file, or from a folder or Hub id of its transformers class."""
    if not Path(arguments.source).is_file():
        check_class(arguments, {class_name})
    return load(arguments.source)


def write_codec(
    to_theirs: Callable[[Any], Any], save: Callable[[Any, Path], None], suffix: str, model: Any, path: Path
) -> None:
    """Write a checkpoint of the codec's own package if the path has its suffix, else a folder of transformers."""
    if path.suffix != suffix:
        to_theirs(model).save_pretrained(path)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, path)


def check_class(arguments: argparse.Namespace, names: Set[str]) -> None:
    """Check that the saved model has one of these classes.

    Raises:
        ValueError: There is no such model, or it has another class.
    """
    try:
        found = saved_class(arguments.source, subfolder=arguments.subfolder, revision=arguments.revision)
    except OSError as error:
        raise ValueError(f"no model can be loaded from {arguments.source!r}; name a folder or a Hub id.") from error
    if found not in names:
        raise ValueError(
            f"{arguments.source} holds {found}, not {' or '.join(sorted(names))}; name its format with --from."
        )


LOCATION = frozenset({"subfolder", "revision"})
WEIGHTS = frozenset({"variant", "torch_dtype"})
FORMATS = {
    "hf_audio_vae": Format(read_own, write_own, LOCATION | WEIGHTS),
    "oobleck": Format(
        read_oobleck,
        lambda model, path: to_oobleck(model).save_pretrained(path),
        LOCATION | WEIGHTS,
        family=WaveformVAE,
    ),
    "ltx2-audio": Format(
        partial(read_diffusers, AutoencoderKLLTX2Audio, from_ltx2_audio),
        lambda model, path: to_ltx2_audio(model).save_pretrained(path),
        LOCATION,
        family=SpectrogramVAE,
    ),
    "stable-audio-tools": Format(
        read_stable_audio_tools, save_stable_audio_tools, frozenset({"config"}), family=WaveformVAE
    ),
    "mmaudio": Format(
        partial(read_diffusers, MMAudioVAE, from_mmaudio),
        lambda model, path: to_mmaudio(model).save_pretrained(path),
        LOCATION,
        family=SpectrogramVAE,
    ),
    "dac": Format(
        partial(read_codec, load_dac, "DacModel"), partial(write_codec, to_dac, save_dac, ".pth"), family=WaveformVQVAE
    ),
    "encodec": Format(
        partial(read_codec, load_encodec, "EncodecModel"),
        partial(write_codec, to_encodec, save_encodec, ".th"),
        family=WaveformVQVAE,
    ),
    "jukebox": Format(lambda arguments: load_jukebox(arguments.source), save_jukebox, family=HierarchicalVQVAE),
}
