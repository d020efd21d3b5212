"""Reader and writer for Oobleck autoencoders of stable-audio-tools.

They have the layers of a `WaveformVAE` under other names; Snake's parameters have another shape.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_audio_vae.files import check_regular_file
from hf_audio_vae.files.json_files import read_json
from hf_audio_vae.models.torch_files import read_torch_file
from hf_audio_vae.models.waveform_vae.convert_stable_audio_tools_config import read_config, write_config
from hf_audio_vae.models.waveform_vae.convert_waveform_vae import check_layout, warn_of_statistics
from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE

CONFIG_NAME = "model_config.json"
CHECKPOINT_NAMES = ("model.safetensors", "model.ckpt")  # in the order in which stable-audio-tools tries them
CHECKPOINT_SUFFIXES = (".safetensors", ".ckpt")

# Prefixes of the names of an autoencoder's weights: in its training checkpoint (averaged weights first), in the
# training checkpoint of a diffusion model, in a diffusion model, and in a checkpoint of only the autoencoder.
PREFIXES = ("autoencoder_ema.ema_model.", "autoencoder.", "diffusion.pretransform.model.", "pretransform.model.", "")

# The order of the layers in their sequences, by the names in this package.
BLOCK_LAYERS = {
    "encoder": ("res_unit1", "res_unit2", "res_unit3", "snake1", "conv1"),
    "decoder": ("snake1", "conv_t1", "res_unit1", "res_unit2", "res_unit3"),
}
UNIT_LAYERS = ("snake1", "conv1", "snake2", "conv2")


def load_stable_audio_tools(source: str | Path, *, config: str | Path | None = None) -> WaveformVAE:
    """Read a checkpoint of stable-audio-tools: an autoencoder, a diffusion model, or a training checkpoint of either.

    Args:
        source (`str` or `Path`): A `.safetensors` or `.ckpt` file, or a folder with `model.safetensors` or
            `model.ckpt`.
        config (`str` or `Path`, *optional*): The configuration; if not given, `model_config.json` in the
            checkpoint's folder, or else the configuration in a training checkpoint.

    Returns:
        `WaveformVAE`: As `from_stable_audio_tools`.

    Raises:
        ValueError: As `from_stable_audio_tools`; or there is no checkpoint or configuration, one of them cannot be
            read, or the checkpoint needs pickled objects, which can run any code.
    """
    checkpoint = _find_checkpoint(Path(source))
    weights, embedded_config = _read_checkpoint(checkpoint)
    default = checkpoint.parent / CONFIG_NAME
    if config is None and embedded_config is not None and not default.is_file():
        return from_stable_audio_tools(weights, embedded_config)
    return from_stable_audio_tools(weights, _read_config(default if config is None else Path(config)))


def save_stable_audio_tools(model: WaveformVAE, destination: str | Path) -> None:
    """Write a model as an autoencoder of stable-audio-tools.

    Args:
        model (`WaveformVAE`): As for `to_stable_audio_tools`.
        destination (`str` or `Path`): A folder, for `model.safetensors`; or a `.safetensors` or `.ckpt` file.
            `model_config.json` is written to the same folder.

    Raises:
        ValueError: As `to_stable_audio_tools`; or one of the files exists.
    """
    destination = Path(destination)
    is_file = destination.suffix in CHECKPOINT_SUFFIXES
    checkpoint = destination if is_file else destination / CHECKPOINT_NAMES[0]
    config_file = checkpoint.parent / CONFIG_NAME
    taken = [str(path) for path in (checkpoint, config_file) if path.exists()]
    if taken:
        raise ValueError(f"{' and '.join(taken)} would be overwritten; name another destination.")
    weights, config = to_stable_audio_tools(model)
    weights = {name: value.cpu() for name, value in weights.items()}
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    config_file.write_text(json.dumps(config, indent=4) + "\n")
    if checkpoint.suffix == ".ckpt":
        torch.save({"state_dict": weights}, checkpoint)
    else:
        save_file(weights, checkpoint)


def from_stable_audio_tools(weights: Mapping[str, Tensor], config: Mapping[str, object]) -> WaveformVAE:
    """Make a model from the weights and the configuration of a stable-audio-tools Oobleck.

    It encodes and decodes to the same values, except at the end of the signal: stable-audio-tools drops the last
    upsampled sample at odd strides, and adds one when it downsamples at strides of 1. This also changes the values
    that later layers compute from these samples. The `scale` of a diffusion model's autoencoder becomes `latents_std`,
    with means of 0.

    Args:
        weights (`Mapping[str, torch.Tensor]`): State dict of an autoencoder, of a model that contains one, or of the
            training of either; averaged weights are preferred. Weight norm may have either of torch's
            names.
        config (`Mapping[str, object]`): Content of `model_config.json` of an autoencoder or a diffusion model.

    Returns:
        `WaveformVAE`: In float32 and evaluation mode.

    Raises:
        ValueError: A `WaveformVAE` does not support the configuration, or it does not fit the weights.
    """
    model = WaveformVAE(**read_config(config))
    model.load_state_dict(_renamed(weights, model))
    return model.eval()


def to_stable_audio_tools(model: WaveformVAE) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return a model's weights by stable-audio-tools' names, with the configuration of a standalone autoencoder.

    Statistics of the latents are left out with a warning, since the configuration cannot hold them.

    Args:
        model (`WaveformVAE`): A model that is not causal and has even strides.

    Returns:
        `tuple[dict[str, torch.Tensor], dict[str, object]]`: The state dict, which shares its memory with the model,
        and the content of `model_config.json`.

    Raises:
        ValueError: The model is causal or has an odd stride.

    Example:
        >>> model = WaveformVAE(8, (2, 4), (1, 2), 8, decoder_input_channels=4, audio_channels=1)
        >>> weights, config = to_stable_audio_tools(model)
        >>> next(iter(weights)), config["model"]["downsampling_ratio"]
        ('encoder.layers.0.weight_g', 8)
    """
    target = "a stable-audio-tools Oobleck"
    check_layout(model, target)
    warn_of_statistics(
        model, f"{target} cannot hold them; if the means are 0, a pretransform's `scale` holds equal deviations"
    )
    num_blocks = len(model.config.downsampling_ratios)
    weights = {_their_name(name, num_blocks): value for name, value in model.state_dict().items()}
    weights = {name: value.flatten() if _is_snake(name) else value for name, value in weights.items()}
    return weights, write_config(model)


def _find_checkpoint(source: Path) -> Path:
    candidates = [source, *(source / name for name in CHECKPOINT_NAMES)]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise ValueError(f"{source} is neither a file nor a folder with {' or '.join(CHECKPOINT_NAMES)}.")
    return found


def _read_checkpoint(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, object] | None]:
    """Read the weights, and the configuration if the file holds one."""
    if path.suffix == ".safetensors":
        check_regular_file(path)
        try:
            with safe_open(path, framework="pt") as file:  # reads only the autoencoder of a diffusion model
                return {name: file.get_tensor(name) for name in _autoencoder_names(file.keys()).values()}, None
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    content: Any = read_torch_file(path, remedy="save only {'state_dict': its tensors}")
    weights = content.get("state_dict", content)
    if not isinstance(weights, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} without a state dict; give a checkpoint.")
    return weights, content.get("model_config")


def _read_config(path: Path) -> Mapping[str, object]:
    if not path.is_file():
        raise ValueError(f"there is no {path} for the checkpoint; pass another file with `config` (`--config`).")
    try:
        config = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON with unique keys: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}; a `{CONFIG_NAME}` is an object with `model_type`.")
    return config


def _autoencoder_names(names: Iterable[str]) -> dict[str, str]:
    """Map the autoencoder's own names of its weights, in one spelling, to the names in the checkpoint."""
    known = list(names)
    for prefix in PREFIXES:
        sides = (f"{prefix}encoder.", f"{prefix}decoder.")
        found = {_spelled(name.removeprefix(prefix)): name for name in known if name.startswith(sides)}
        if found:
            return found
    raise ValueError(f"the checkpoint holds no autoencoder: no name starts with one of {PREFIXES} and `encoder.`.")


def _renamed(weights: Mapping[str, Tensor], model: WaveformVAE) -> dict[str, Tensor]:
    """Return the autoencoder's weights as `model` names and shapes them; `ValueError` if they do not fit it."""
    expected = model.state_dict()
    ours = {_their_name(name, len(model.config.downsampling_ratios)): name for name in expected}
    theirs = _autoencoder_names(weights)
    remedy = "give the configuration that it was made with"
    if differing := sorted(ours.keys() ^ theirs.keys()):
        where = "missing from the checkpoint" if differing[0] in ours else "unknown to the configuration"
        raise ValueError(f"{differing[0]} is {where}, one of {len(differing)} names that differ; {remedy}.")
    renamed = {}
    for name, key in theirs.items():
        value = weights[key].reshape(1, -1, 1) if _is_snake(name) else weights[key]
        shape, needed = tuple(value.shape), tuple(expected[ours[name]].shape)
        if shape != needed:
            raise ValueError(f"{key} has the shape {shape}, the configuration requires {needed}; {remedy}.")
        renamed[ours[name]] = value
    return renamed


def _spelled(name: str) -> str:
    """Spell weight norm as `torch.nn.utils.weight_norm` does."""
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


def _their_name(name: str, num_blocks: int) -> str:
    """Name a parameter by its layer's index in each of the nested sequences."""
    side, *layers, parameter = name.replace(".block.", ".block").split(".")
    stack_layers = ("conv1", *(f"block{i}" for i in range(num_blocks)), "snake1", "conv2")
    sequences = (stack_layers, BLOCK_LAYERS[side], UNIT_LAYERS)
    indices = [sequence.index(layer) for sequence, layer in zip(sequences, layers, strict=False)]
    return ".".join([side, *(f"layers.{index}" for index in indices), parameter])


def _is_snake(name: str) -> bool:
    """Whether a parameter is Snake's: (channels,) there, (1, channels, 1) here."""
    return name.endswith((".alpha", ".beta"))
