"""Convert diffusers' `AutoencoderKLLTX2Audio`, the audio autoencoder of LTX-2, to `SpectrogramVAE` and back."""

import logging
import re
from typing import Any

import torch
from diffusers import AutoencoderKLLTX2Audio
from torch import Tensor

from hf_audio_vae.models.spectrogram_vae.modeling_spectrogram_vae import SpectrogramVAE

logger = logging.getLogger(__name__)

WINDOW_LENGTH = 1024  # samples; the configuration of LTX-2 does not name it
ENDS = {  # ours, theirs
    "encoder.network.stages.0.steps.0": "encoder.conv_in.conv",
    "encoder.network.project": "encoder.conv_out.conv",
    "decoder.network.first": "decoder.conv_in.conv",
    "decoder.network.project.conv": "decoder.conv_out.conv",
}
LAYERS = {"conv1": "conv1.conv", "conv2": "conv2.conv", "shortcut": "nin_shortcut.conv"}  # of a block
STEP = re.compile(r"(encoder|decoder)\.network\.(middle|stages\.(\d+))\.steps\.(\d+)(?:\.(\w+))?")


def from_ltx2_audio(vae: AutoencoderKLLTX2Audio, *, window_length: int = WINDOW_LENGTH) -> SpectrogramVAE:
    """Convert a model of diffusers.

    Spectrograms and posteriors are those of the model for lengths that it keeps: a multiple of 4 frames and one more
    for causal models. The front end centres its windows on their hops; that of LTX-2 centres them on the first sample
    and mirrors the ends of the signal.

    Args:
        vae (`AutoencoderKLLTX2Audio`): A model with pixel norm, without attention.
        window_length (`int`): Samples per window of the front end.

    Returns:
        `SpectrogramVAE`: Equal weights, in evaluation mode, on the model's device and dtype.

    Raises:
        ValueError: The configuration cannot be expressed.

    Example:
        >>> vae = AutoencoderKLLTX2Audio(4, 1, (1, 2), 1, in_channels=1, latent_channels=2, mel_bins=16)
        >>> model = from_ltx2_audio(vae)
        >>> mel = torch.randn(1, 1, 9, 16)
        >>> torch.allclose(model.encode(mel).latent_dist.mean, vae.encode(mel).latent_dist.mean, atol=1e-5)
        True
    """
    config: Any = vae.config
    required = {"norm_type": "pixel", "mid_block_add_attention": False, "double_z": True}
    for name, value in required.items():
        if config[name] != value:
            raise ValueError(f"`{name}` {config[name]!r} cannot be a SpectrogramVAE's; it has to be {value!r}.")
    if config.attn_resolutions:
        raise ValueError(f"`attn_resolutions` {config.attn_resolutions}: a SpectrogramVAE has no attention.")
    if config.causality_axis not in ("height", "none"):
        raise ValueError(
            f"`causality_axis` {config.causality_axis!r} is not that of time; it has to be 'height' or 'none'."
        )
    if config.in_channels != config.output_channels or config.ch_mult[0] != 1 or config.mel_bins is None:
        raise ValueError(
            f"`in_channels` {config.in_channels}, `output_channels` {config.output_channels}, `ch_mult` "
            f"{config.ch_mult} and `mel_bins` {config.mel_bins}: a SpectrogramVAE needs equal channels, a first "
            f"multiple of 1, and mel bins."
        )
    causal, later = config.causality_axis == "height", len(config.ch_mult) - 1
    model = SpectrogramVAE(
        "mel",
        downsampling_ratios=(config.mel_hop_length, *[2] * later),
        bin_ratios=(1, *[2] * later),
        block_out_channels=tuple(config.base_channels * multiple for multiple in config.ch_mult),
        layers_per_block=config.num_res_blocks,
        latent_channels=config.latent_channels,
        audio_channels=config.in_channels,
        sampling_rate=config.sample_rate,
        window_length=window_length,
        mel_bins=config.mel_bins,
        causal=causal,
        leading_frame=causal,
        log_variance=True,
    )
    state = vae.state_dict()
    mean, std = state.pop("latents_mean"), state.pop("latents_std")
    if mean.any() or (std != 1).any():
        model.register_to_config(latents_mean=tuple(mean.tolist()), latents_std=tuple(std.tolist()))
    names = _names(model)
    model.load_state_dict({names[name]: _transposed(value) for name, value in state.items()}, assign=True)
    return model.eval()


def to_ltx2_audio(model: SpectrogramVAE) -> AutoencoderKLLTX2Audio:
    """Convert a model to diffusers' own class; see `from_ltx2_audio` for the differences.

    The class has no front end. A window of other than 1024 samples is left out with a warning.

    Raises:
        ValueError: The configuration cannot be expressed, or the class has no room for the statistics of the latents.
    """
    config, widths = model.config, model.config.block_out_channels
    whole_range = (0, model.sampling_rate / 2)
    strides = [2] * (len(widths) - 1)
    expressible = {
        "`front_end` 'mel'": config.front_end == "mel",
        "`network` 'residual'": config.network == "residual",
        "`log_variance`": config.log_variance,
        "strides of 2": [*config.downsampling_ratios[1:]] == strides and [*config.bin_ratios] == [1, *strides],
        "multiples of the first of `block_out_channels`": not any(width % widths[0] for width in widths),
        "equal `causal` and `leading_frame`": config.causal == config.leading_frame,
        "as many latent statistics as the first width": config.latents_mean is None
        or len(config.latents_mean) == widths[0],
        "mel filters up to half the sampling rate": model.layout.frequency_range_hz == whole_range,
        "`pad_mode` 'constant'": config.pad_mode in (None, "constant"),
        "`power_offset` 0": not config.power_offset,
    }
    if missing := [need for need, is_met in expressible.items() if not is_met]:
        raise ValueError(f"an AutoencoderKLLTX2Audio needs {', '.join(missing)}; this model cannot be written as one.")
    if config.window_length != WINDOW_LENGTH:
        logger.warning(
            f"`window_length` {config.window_length} is left out: an AutoencoderKLLTX2Audio has none, and is read "
            f"with {WINDOW_LENGTH}; give it to `from_ltx2_audio` again."
        )
    vae = AutoencoderKLLTX2Audio(
        base_channels=widths[0],
        output_channels=config.audio_channels,
        ch_mult=tuple(width // widths[0] for width in widths),
        num_res_blocks=config.layers_per_block,
        in_channels=config.audio_channels,
        latent_channels=config.latent_channels,
        norm_type="pixel",
        causality_axis="height" if config.causal else "none",
        sample_rate=config.sampling_rate,
        mel_hop_length=model.layout.spectrogram_hop_length,
        is_causal=config.causal,
        mel_bins=config.mel_bins,
    )
    ours = model.state_dict()
    state = {name: _transposed(ours[own]) for name, own in _names(model).items()}
    statistics = {name: value.to(model.dtype) for name, value in _statistics(model, widths[0]).items()}
    vae.load_state_dict(state | statistics, assign=True)
    return vae.eval()


def _statistics(model: SpectrogramVAE, channels: int) -> dict[str, Tensor]:
    if not model.has_latent_statistics:
        return {"latents_mean": torch.zeros(channels), "latents_std": torch.ones(channels)}
    return {"latents_mean": model.latents_mean, "latents_std": model.latents_std}


def _names(model: SpectrogramVAE) -> dict[str, str]:
    """Return the names of our parameters by theirs."""
    last = len(model.config.block_out_channels) - 1
    layers = {name: name.rpartition(".") for name in model.state_dict()}
    return {f"{_their_layer(layer, last)}.{kind}": name for name, (layer, _, kind) in layers.items()}


def _their_layer(layer: str, last: int) -> str:
    """Return their name of a layer of ours; `last` is the index of the last stage."""
    if layer in ENDS:
        return ENDS[layer]
    found = STEP.fullmatch(layer)
    if found is None:
        raise ValueError(f"the layer {layer} has no counterpart in an AutoencoderKLLTX2Audio.")
    side, part, stage, step, inner = found.groups()
    if part == "middle":
        return f"{side}.mid.block_{int(step) + 1}.{LAYERS[inner]}"
    if side == "encoder":
        block = f"{stage}.block.{int(step) - 1}"
        return f"encoder.down.{block}.{LAYERS[inner]}" if inner else f"encoder.down.{int(stage) - 1}.downsample.conv"
    level = f"decoder.up.{last - int(stage)}"
    return f"{level}.upsample.conv.conv" if inner == "conv" else f"{level}.block.{step}.{LAYERS[inner]}"


def _transposed(value: Tensor) -> Tensor:
    """Exchange frames and bins of a kernel, (out, in, frames, bins) <-> (out, in, bins, frames)."""
    return value.mT.contiguous() if value.ndim == 4 else value.clone()
