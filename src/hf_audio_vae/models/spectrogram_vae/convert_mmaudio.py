"""Reader and writer for the autoencoder of MMAudio (Cheng et al., arXiv:2412.15322): diffusers' `MMAudioVAE`.

Posteriors and mel spectrograms are equal within rounding for waveforms in [-1, 1] of whole latent frames. MMAudio
leaves out the samples after the last whole latent frame and clips louder ones; a `SpectrogramVAE` does neither.
Activations of the first middle block are bounded as those of other blocks, to 256; MMAudio leaves them free.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from diffusers import MMAudioVAE

from hf_audio_vae.models.spectrogram_vae.layout import Layout
from hf_audio_vae.models.spectrogram_vae.modeling_spectrogram_vae import SpectrogramVAE

logger = logging.getLogger(__name__)

POWER_OFFSET = 1e-9
STATISTICS = {
    "encoder.network.standardize.mean": "vae.data_mean",
    "encoder.network.standardize.std": "vae.data_std",
    "decoder.network.restore.mean": "vae.data_mean",
    "decoder.network.restore.std": "vae.data_std",
}
# Patterns of names in a `SpectrogramVAE`, in the order of their replacement, and the names in an `MMAudioVAE`.
LAYERS = {
    r"^(encoder|decoder)\.network\.": r"vae.\1.",
    r"\.first\.": ".conv_in.",
    r"\.project\.gain": ".learnable_gain",
    r"\.attention\.project\.": ".attn_1.proj_out.",
    r"\.attention\.qkv\.": ".attn_1.qkv.",
    r"\.project\.": ".conv_out.",
    r"\.residual\.shortcut\.steps\.0\.": ".nin_shortcut.",
    r"\.residual\.": ".",
    r"\.middle\.steps\.1\.": ".mid.",
    r"\.middle\.steps\.0\.": ".mid.block_1.",
    r"\.middle\.steps\.2\.": ".mid.block_2.",
}


def from_mmaudio(original: MMAudioVAE) -> SpectrogramVAE:
    """Convert diffusers' model.

    Its `scaling_factor` becomes `latents_mean` 0 and `latents_std` 1 / scaling_factor of every channel.

    Args:
        original (`MMAudioVAE`): Model with two or more levels, the first with multiplier 1.

    Returns:
        `SpectrogramVAE`: Equal weights, in evaluation mode, on the model's device and dtype.

    Raises:
        ValueError: The model has one level, or another first multiplier; or as `SpectrogramVAE`.
    """
    config = original.config
    multipliers = tuple(config.channel_multipliers)
    if len(multipliers) < 2 or multipliers[0] != 1:
        raise ValueError(
            f"`channel_multipliers` {multipliers} cannot be read into a SpectrogramVAE, which needs two or more, the "
            f"first of them 1."
        )
    channels = config.latent_channels
    statistics = {"latents_mean": (0.0,) * channels, "latents_std": (1 / config.scaling_factor,) * channels}
    model = SpectrogramVAE(**_arguments(config), **statistics)
    theirs, state = original.state_dict(), model.state_dict()
    loaded = {name: theirs[_their_name(name, model.layout)].reshape(value.shape) for name, value in state.items()}
    # Copied, since names of statistics share a value; `assign` also sets device and dtype.
    model.load_state_dict({name: value.detach().clone() for name, value in loaded.items()}, assign=True)
    return model.eval()


def to_mmaudio(model: SpectrogramVAE) -> MMAudioVAE:
    """Convert to diffusers' model.

    `scaling_factor` holds the overall variance of the latents; what else the statistics say of single channels is left
    out with a warning.

    Args:
        model (`SpectrogramVAE`): A model with the layers of MMAudio, on a mel spectrogram of one audio channel.

    Returns:
        `MMAudioVAE`: Equal weights, in evaluation mode, on the model's device and dtype.

    Raises:
        ValueError: An `MMAudioVAE` has another value of an argument, or the encoder's statistics of the bins are not
            the decoder's.
    """
    layout, widths = model.layout, model.config.block_out_channels
    config = {
        "mel_bins": layout.bins,
        "latent_channels": model.config.latent_channels,
        "hidden_channels": widths[0],
        "channel_multipliers": tuple(width // widths[0] for width in widths),
        "layers_per_block": model.config.layers_per_block,
        "sample_rate": model.sampling_rate,
        "n_fft": model.config.window_length,
        "hop_length": layout.spectrogram_hop_length,
        "scaling_factor": round(model.scaling_factor, 12),
    }
    _check_arguments(layout, _arguments(config))
    if model.latents_mean.any() or (model.latents_std != model.latents_std[0]).any():
        logger.warning("`latents_mean` and `latents_std` are left out except for `scaling_factor`.")
    original = MMAudioVAE(**config)
    state, written = original.state_dict(), set[str]()
    for name, value in model.state_dict().items():
        target = _their_name(name, layout)
        value = value.reshape(state[target].shape)
        if target in written and not value.equal(state[target]):
            raise ValueError(
                f"`{name}` differs between encoder and decoder; an MMAudioVAE has one `{target}`; set both equal."
            )
        state[target] = value.clone()
        written.add(target)
    original.load_state_dict(state, assign=True)
    return original.to(model.device).eval()


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `SpectrogramVAE`, without statistics."""
    multipliers = config["channel_multipliers"]
    return {
        "front_end": "mel",
        "network": "magnitude_preserving",
        "downsampling_ratios": (config["hop_length"], 2, *(1,) * (len(multipliers) - 2)),
        "bin_ratios": (1,) * len(multipliers),
        "block_out_channels": tuple(config["hidden_channels"] * multiplier for multiplier in multipliers),
        "layers_per_block": config["layers_per_block"],
        "latent_channels": config["latent_channels"],
        "audio_channels": 1,
        "sampling_rate": config["sample_rate"],
        "window_length": config["n_fft"],
        "mel_bins": config["mel_bins"],
        "mid_block_add_attention": True,
        "pad_mode": "reflect",
        "power_offset": POWER_OFFSET,
        "log_variance": True,
    }


def _check_arguments(layout: Layout, needed: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless the layout has the needed arguments, and defaults for others."""
    needed = {**SpectrogramVAE.argument_defaults(), **needed}
    needed |= {"min_frequency_hz": 0.0, "max_frequency_hz": needed["sampling_rate"] / 2}
    lowest, highest = layout.frequency_range_hz
    own = {field.name: getattr(layout, field.name) for field in fields(layout)}
    own |= {"min_frequency_hz": lowest, "max_frequency_hz": highest}
    for name, value in own.items():
        value = tuple(value) if isinstance(value, list) else value
        if value != needed[name]:
            raise ValueError(f"`{name}` {value!r} cannot be written as an MMAudioVAE, which needs {needed[name]!r}.")


def _their_name(name: str, layout: Layout) -> str:
    """Return the name of a weight in an `MMAudioVAE`."""
    if name in STATISTICS:
        return STATISTICS[name]
    blocks = layout.layers_per_block

    def step(match: re.Match[str]) -> str:
        side, stage, index = match[1], int(match[2]), int(match[3])
        if side == "encoder":
            return f"encoder.down.{stage}." + (f"block.{index}." if index < blocks else "downsample.")
        level = len(layout.block_out_channels) - 1 - stage
        return f"decoder.up.{level}." + (f"block.{index}." if index <= blocks else "upsample.")

    for pattern, replacement in LAYERS.items():
        name = re.sub(pattern, replacement, name)
    return re.sub(r"(encoder|decoder)\.stages\.(\d+)\.steps\.(\d+)\.", step, name)
