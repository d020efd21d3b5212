"""Reader and writer for DAC: transformers' `DacModel`, and the files of the descript-audio-codec package."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import DacConfig, DacModel

from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models.torch_files import read_torch_file
from hf_audio_vae.models.waveform_vqvae.checkpoints import check_known, fuse_weights, load_renamed, refuse
from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE

# Config values of every DAC, except for training.
ALWAYS: dict[str, Any] = {
    "audio_channels": 1,
    "activation": "snake",
    "kernel_size": 7,
    "encoder_last_kernel_size": 3,
    "decoder_last_kernel_size": 7,
    "residual_kernel_size": 7,
    "residual_dilations": (1, 3, 9),
    "residual_compression": 1,
    "residual_shortcut": False,
    "norm": "weight_norm",
    "causal": False,
    "pad_mode": "constant",
    "num_lstm_layers": 0,
    "final_tanh": True,
    "normalize": False,
    "cosine": True,
    "fsq_levels": None,
}
TRAINED_LIKE_DAC: dict[str, Any] = {"codebook_learning": "gradient", "restart_share": None, "kmeans_start": False}
NOT_IN_DAC = re.compile(r"\.codebook\.(counts|sums|updates)$")  # buffers that a DAC does not have


def load_dac(source: str | Path) -> WaveformVQVAE:
    """Read a DAC: a file of the descript-audio-codec package, or a folder or Hub id of transformers.

    Args:
        source (`str` or `Path`): A `.pth` file, else a folder or Hub id.

    Returns:
        `WaveformVQVAE`: In float32 and evaluation mode, with the same codes and waveform. Only the end of the waveform
        differs at odd strides, where DAC drops the last upsampled sample.

    Raises:
        ValueError: The file is not of a DAC, its codebooks differ in dimension, its decoder does not mirror its
            encoder, its configuration has unknown keys, its weights do not fit its arguments, or see `load_checked`.
        OSError: There is no such folder or repository.
    """
    if not Path(source).is_file():
        return from_dac(load_checked(DacModel, source, dtype=torch.float32))
    content = read_torch_file(Path(source))
    weights, metadata = content.get("state_dict"), content.get("metadata")
    if not isinstance(weights, dict) or not isinstance(metadata, dict) or "kwargs" not in metadata:
        raise ValueError(f'{source} is not a DAC file: "state_dict" or "metadata" with "kwargs" is missing; give one.')
    model = WaveformVQVAE(_config_of_arguments(metadata["kwargs"]))
    blocks = len(model.config.downsampling_ratios)
    load_renamed(model, weights, lambda name: _original_name(name, blocks))
    return model


def save_dac(model: WaveformVQVAE, path: str | Path) -> None:
    """Write a model as a file of the descript-audio-codec package.

    Args:
        model (`WaveformVQVAE`): As for `to_dac`.
        path (`str` or `Path`): The file, usually `.pth`.

    Raises:
        ValueError: As `to_dac`; or the file exists.
    """
    if Path(path).exists():
        raise ValueError(f"{path} would be overwritten; name another file.")
    _check(model)
    config, ratios = model.config, list(model.config.downsampling_ratios)
    arguments = {
        "encoder_dim": config.encoder_hidden_size,
        "encoder_rates": ratios,
        "latent_dim": config.hidden_size,
        "decoder_dim": config.decoder_hidden_size,
        "decoder_rates": ratios[::-1],
        "n_codebooks": config.num_codebooks,
        "codebook_size": config.codebook_size,
        "codebook_dim": config.codebook_dim,
        "quantizer_dropout": config.quantizer_dropout,
        "sample_rate": config.sampling_rate,
    }
    named = {_original_name(name, len(ratios)): value.cpu() for name, value in model.state_dict().items()}
    named.pop("", None)
    torch.save({"state_dict": named, "metadata": {"kwargs": arguments}}, path)


def from_dac(dac: DacModel) -> WaveformVQVAE:
    """Convert transformers' DAC.

    Args:
        dac (`DacModel`): A model with weight norm or, as published, without.

    Returns:
        `WaveformVQVAE`: As `load_dac`.

    Raises:
        ValueError: The configuration has unknown keys.
    """
    theirs = dac.config
    check_known(theirs.to_dict(), DacConfig().to_dict(), "the DAC")
    config = WaveformVQVAEConfig(
        **ALWAYS,
        **TRAINED_LIKE_DAC,
        sampling_rate=theirs.sampling_rate,
        encoder_hidden_size=theirs.encoder_hidden_size,
        decoder_hidden_size=theirs.decoder_hidden_size,
        downsampling_ratios=tuple(theirs.downsampling_ratios),
        hidden_size=theirs.hidden_size,
        num_codebooks=theirs.n_codebooks,
        codebook_size=theirs.codebook_size,
        codebook_dim=theirs.codebook_dim,
        quantizer_dropout=float(theirs.quantizer_dropout),
    )
    model = WaveformVQVAE(config)
    load_renamed(model, dac.state_dict(), _transformers_name)
    return model


def to_dac(model: WaveformVQVAE) -> DacModel:
    """Convert a model to transformers' own class, for users without this package.

    The learning method of the codebooks is left out: those of a DAC learn by gradient.

    Args:
        model (`WaveformVQVAE`): A model with a configuration that a DAC supports.

    Returns:
        `DacModel`: In evaluation mode, with the same codes and waveform, except for the end at odd strides.

    Raises:
        ValueError: A configuration value is not supported by DAC.
    """
    codebook_dim = _check(model)
    config = model.config
    dac = DacModel(
        DacConfig(
            sampling_rate=config.sampling_rate,
            encoder_hidden_size=config.encoder_hidden_size,
            decoder_hidden_size=config.decoder_hidden_size,
            downsampling_ratios=list(config.downsampling_ratios),
            n_codebooks=config.num_codebooks,
            codebook_size=config.codebook_size,
            codebook_dim=codebook_dim,
            quantizer_dropout=config.quantizer_dropout,
        )
    )
    named = {_transformers_name(name): value for name, value in model.state_dict().items()}
    named.pop("", None)
    dac.load_state_dict({name: value.detach().clone() for name, value in fuse_weights(named).items()}, assign=True)
    return dac.eval()


def _check(model: WaveformVQVAE) -> int:
    """Raise `ValueError` if a DAC does not support the model; return the dimension of its codebooks."""
    target = "a DAC"
    config = model.config
    refuse(model, ALWAYS, target)
    widest = config.encoder_hidden_size * 2 ** len(config.downsampling_ratios)
    refuse(model, {"hidden_size": widest}, target)
    if config.codebook_dim is None or config.codebook_dim == config.hidden_size:
        raise ValueError(
            f"`codebook_dim` {config.codebook_dim} cannot be written as {target}, which projects to fewer dimensions."
        )
    return config.codebook_dim


def _config_of_arguments(arguments: Mapping[str, object]) -> WaveformVQVAEConfig:
    """Translate the arguments of descript-audio-codec's class; missing ones have its defaults."""
    defaults: dict[str, Any] = {
        "encoder_dim": 64,
        "encoder_rates": [2, 4, 8, 8],
        "latent_dim": None,
        "decoder_dim": 1536,
        "decoder_rates": [8, 8, 4, 2],
        "n_codebooks": 9,
        "codebook_size": 1024,
        "codebook_dim": 8,
        "quantizer_dropout": False,
        "sample_rate": 44100,
    }
    check_known(arguments, defaults, "the DAC")
    values = defaults | dict(arguments)
    ratios = tuple(values["encoder_rates"])
    if tuple(values["decoder_rates"]) != ratios[::-1]:
        raise ValueError(
            f"`decoder_rates` {values['decoder_rates']} are not the `encoder_rates` {ratios} reversed: its output has "
            f"another length than its input, which a `WaveformVQVAE` does not support."
        )
    dims = values["codebook_dim"]
    if isinstance(dims, list | tuple):
        if len(set(dims)) != 1:
            raise ValueError(f"`codebook_dim` is {dims}; a `WaveformVQVAE` has one dimension for all codebooks.")
        dims = dims[0]
    return WaveformVQVAEConfig(
        **ALWAYS,
        **TRAINED_LIKE_DAC,
        sampling_rate=values["sample_rate"],
        encoder_hidden_size=values["encoder_dim"],
        decoder_hidden_size=values["decoder_dim"],
        downsampling_ratios=ratios,
        hidden_size=values["latent_dim"] or values["encoder_dim"] * 2 ** len(ratios),
        num_codebooks=values["n_codebooks"],
        codebook_size=values["codebook_size"],
        codebook_dim=dims,
        quantizer_dropout=float(values["quantizer_dropout"]),
    )


def _transformers_name(name: str) -> str:
    """Name a weight as `DacModel` does, in weight norm's older spelling; empty if it has no such weight."""
    if NOT_IN_DAC.search(name):
        return ""
    name = name.replace(".codebook.vectors", ".codebook.weight")
    name = re.sub(r"\.units\.(\d)", lambda found: f".res_unit{int(found[1]) + 1}", name)
    name = re.sub(r"encoder\.blocks\.(\d+)\.conv\.", r"encoder.block.\1.conv1.", name)
    name = re.sub(r"decoder\.blocks\.(\d+)\.conv\.", r"decoder.block.\1.conv_t1.", name)
    name = re.sub(r"\.activation(\d)\.", r".snake\1.", name)
    return name.replace(".activation.", ".snake1.").replace(".blocks.", ".block.")


def _original_name(name: str, blocks: int) -> str:
    """Name a weight as descript-audio-codec does, by its layer's index in nested sequences."""
    if NOT_IN_DAC.search(name):
        return ""
    side = name.partition(".")[0]
    if side == "quantizer":
        return name.replace(".codebook.vectors", ".codebook.weight")
    stack = {"conv1": 0, "activation": blocks + 1, "conv2": blocks + 2}
    units, activation, conv = (0, 3, 4) if side == "encoder" else (2, 0, 1)
    *layers, parameter = name.split(".")[1:]
    if layers[0] != "blocks":
        indices = [stack[layers[0]]]
    elif layers[2] != "units":
        indices = [int(layers[1]) + 1, {"activation": activation, "conv": conv}[layers[2]]]
    else:
        unit_layers = ("activation1", "conv1", "activation2", "conv2")
        indices = [int(layers[1]) + 1, units + int(layers[3]), unit_layers.index(layers[4])]
    root = "block" if side == "encoder" else "model"
    return ".".join([side, root, ".block.".join(str(index) for index in indices), parameter])
