"""The configuration of stable-audio-tools' autoencoders, `model_config.json`, as version 0.0.19 reads it."""

import math
from collections.abc import Mapping
from typing import Any

from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE

# Model types that have an autoencoder as their `pretransform`.
DIFFUSION_TYPES = ("diffusion_uncond", "diffusion_cond", "diffusion_cond_inpaint")

# Defaults of stable-audio-tools for missing keys.
SIDE_DEFAULTS = {
    "channels": 128,
    "latent_dim": 32,
    "c_mults": [1, 2, 4, 8],
    "strides": [2, 4, 8, 8],
    "use_snake": False,
    "antialias_activation": False,
}
DEFAULTS: dict[str, dict[str, Any]] = {
    "encoder": {"in_channels": 2, **SIDE_DEFAULTS},
    "decoder": {"out_channels": 2, **SIDE_DEFAULTS, "use_nearest_upsample": False, "final_tanh": True},
}
# Values that a WaveformVAE requires, with the reasons for the errors.
FIXED = {
    "use_snake": (True, "its activations are Snake"),
    "antialias_activation": (False, "its activations do not resample"),
    "use_nearest_upsample": (False, "it upsamples by transposed convolutions"),
    "final_tanh": (False, "its output is not bounded"),
}


def read_config(config: Mapping[str, object]) -> dict[str, object]:
    """Translate the content of a `model_config.json` into the arguments of a `WaveformVAE`.

    Args:
        config (`Mapping[str, object]`): As `json.load` returns it, of an autoencoder or of a diffusion model with one.

    Returns:
        `dict[str, object]`: All but `causal`, since no such model is causal.

    Raises:
        ValueError: A `WaveformVAE` does not support it, it contradicts itself, or it is incomplete.
    """
    autoencoder, scale = _find_autoencoder(config)
    encoder, decoder = (_side_config(autoencoder, side) for side in ("encoder", "decoder"))
    _check_autoencoder(autoencoder, encoder, decoder)
    sampling_rate = config.get("sample_rate")
    if not _is_like(sampling_rate, 44100):
        raise ValueError(f"`sample_rate` is {sampling_rate!r}; a number of samples per second is needed.")
    latent_channels = decoder["latent_dim"]
    return {
        "encoder_hidden_size": encoder["channels"],
        "downsampling_ratios": tuple(encoder["strides"]),
        "channel_multiples": tuple(encoder["c_mults"]),
        "decoder_channels": decoder["channels"],
        "decoder_input_channels": latent_channels,
        "audio_channels": encoder["in_channels"],
        "sampling_rate": sampling_rate,
        "latents_mean": None if scale == 1 else (0.0,) * latent_channels,
        "latents_std": None if scale == 1 else (scale,) * latent_channels,
    }


def write_config(model: WaveformVAE) -> dict[str, object]:
    """Describe a model as a standalone autoencoder, the content of a `model_config.json`."""
    config = model.config
    shared = {
        "c_mults": list(config.channel_multiples),
        "strides": list(config.downsampling_ratios),
        "use_snake": True,
    }
    encoder = {
        "in_channels": config.audio_channels,
        "channels": config.encoder_hidden_size,
        "latent_dim": 2 * config.decoder_input_channels,
        **shared,
    }
    decoder = {
        "out_channels": config.audio_channels,
        "channels": config.decoder_channels,
        "latent_dim": config.decoder_input_channels,
        **shared,
        "final_tanh": False,
    }
    return {
        "model_type": "autoencoder",
        "sample_size": 32 * model.hop_length,  # a training crop of published length; required by their scripts
        "sample_rate": config.sampling_rate,
        "audio_channels": config.audio_channels,
        "model": {
            "encoder": {"type": "oobleck", "config": encoder},
            "decoder": {"type": "oobleck", "config": decoder},
            "bottleneck": {"type": "vae"},
            "latent_dim": config.decoder_input_channels,
            "downsampling_ratio": model.hop_length,
            "io_channels": config.audio_channels,
        },
    }


def _find_autoencoder(config: Mapping[str, object]) -> tuple[Mapping[str, Any], float]:
    """Return the autoencoder's section, and the divisor of its latents before diffusion."""
    model_type = config.get("model_type")
    if model_type == "autoencoder":
        return _section(config, "model"), 1.0
    if model_type not in DIFFUSION_TYPES:
        known = ", ".join(("autoencoder", *DIFFUSION_TYPES))
        raise ValueError(f"`model_type` is {model_type!r}; an autoencoder can be read from {known}.")
    pretransform = _section(config, "model", "pretransform")
    _require("model.pretransform.type", pretransform.get("type"), "autoencoder", "no other pretransform has latents")
    scale = pretransform.get("scale", 1.0)
    if type(scale) not in (int, float) or not 0 < scale < math.inf:
        raise ValueError(f"`model.pretransform.scale` is {scale!r}; a positive number is needed.")
    return _section(pretransform, "config"), float(scale)


def _section(config: Mapping[str, object], *path: str) -> Mapping[str, Any]:
    """Return the object at a path of keys; `ValueError` if there is none."""
    found: object = config
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise ValueError(f"the configuration has no section `{'.'.join(path)}`; give the one the model was made with.")
    return found


def _side_config(autoencoder: Mapping[str, Any], side: str) -> dict[str, Any]:
    """Return the arguments of encoder or decoder, with stable-audio-tools' defaults for missing ones."""
    _require(f"{side}.type", _section(autoencoder, side).get("type"), "oobleck", "its layers are Oobleck's")
    given, defaults = _section(autoencoder, side, "config"), DEFAULTS[side]
    for key, value in given.items():
        if key not in defaults:
            raise ValueError(f"`{side}.config` has the unknown key {key!r}; known keys are {sorted(defaults)}.")
        if not _is_like(value, defaults[key]):
            raise ValueError(f"`{side}.config.{key}` is {value!r}; give a value such as {defaults[key]!r}.")
    arguments = {**defaults, **given}
    for key, (value, reason) in FIXED.items():
        if key in arguments:
            by_default = "" if key in given else " by default"
            _require(f"{side}.config.{key}{by_default}", arguments[key], value, reason)
    return arguments


def _check_autoencoder(autoencoder: Mapping[str, Any], encoder: Mapping[str, Any], decoder: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless encoder and decoder fit each other and a `WaveformVAE` supports all settings."""
    bottleneck = _section(autoencoder, "bottleneck").get("type") if autoencoder.get("bottleneck") else None
    _require("bottleneck.type", bottleneck, "vae", "its latents are Gaussian")
    _require("pretransform", autoencoder.get("pretransform"), None, "it codes the waveform itself")
    _require("decoder.soft_clip", autoencoder["decoder"].get("soft_clip", False), False, "its output is not bounded")
    for key in ("strides", "c_mults"):
        _require(f"decoder.config.{key}", decoder[key], encoder[key], "encoder and decoder have the same")
    channels, latent_channels = encoder["in_channels"], decoder["latent_dim"]
    reason = "it has as many output as input channels"
    _require("decoder.config.out_channels", decoder["out_channels"], channels, reason)
    reason = f"it has a mean and a scale for each of the {latent_channels} decoded channels"
    _require("encoder.config.latent_dim", encoder["latent_dim"], 2 * latent_channels, reason)
    derived = {
        "latent_dim": latent_channels,
        "downsampling_ratio": math.prod(encoder["strides"]),
        **dict.fromkeys(("io_channels", "in_channels", "out_channels"), channels),
    }
    for key, value in derived.items():
        if autoencoder.get(key) is not None:
            _require(key, autoencoder[key], value, "encoder and decoder have this value")


def _require(name: str, value: object, needed: object, reason: str) -> None:
    if value != needed:
        raise ValueError(f"`{name}` is {value!r}; a WaveformVAE requires {needed!r}: {reason}.")


def _is_like(value: object, example: object) -> bool:
    """Whether a value of the configuration has exactly the type of the example; `True` is not a number."""
    if isinstance(example, list):
        return isinstance(value, list | tuple) and all(type(item) is int for item in value)
    return type(value) is type(example)
