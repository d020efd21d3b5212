"""Reader and writer for EnCodec: transformers' `EncodecModel`, and the files of the encodec package."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import EncodecConfig, EncodecModel

from hf_audio_vae.files.loading import load_checked
from hf_audio_vae.models.torch_files import read_torch_file
from hf_audio_vae.models.waveform_vqvae.checkpoints import check_known, load_renamed, refuse
from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE

# Config values of every EnCodec, except for training.
ALWAYS: dict[str, Any] = {
    "activation": "elu",
    "final_tanh": False,
    "cosine": False,
    "fsq_levels": None,
}
TRAINED_LIKE_ENCODEC: dict[str, Any] = {
    "codebook_learning": "ema",
    "ema_decay": 0.99,
    "restart_share": 0.05,
    "quantizer_dropout": 1.0,
}
# Configurations of the package's files, by the start of their names.
ORIGINALS = {"encodec_24khz": EncodecConfig()}
CODEBOOK = {"vectors": "embed", "sums": "embed_avg", "counts": "cluster_size", "updates": "inited"}


def load_encodec(source: str | Path) -> WaveformVQVAE:
    """Read an EnCodec: a file of the encodec package, or a folder or Hub id of transformers.

    Args:
        source (`str` or `Path`): A file with its published name, such as `encodec_24khz-d7cc33bc.th`, since it
            does not hold its configuration; else a folder or Hub id.

    Returns:
        `WaveformVQVAE`: As `from_encodec`.

    Raises:
        ValueError: As `from_encodec`; the file's name or content is not known; or see `load_checked`.
        OSError: There is no such folder or repository.
    """
    path = Path(source)
    if not path.is_file():
        return from_encodec(load_checked(EncodecModel, source, dtype=torch.float32))
    known = next((name for name in ORIGINALS if path.name.startswith(name)), None)
    if known is None:
        raise ValueError(
            f"the name of {path.name} does not identify an EnCodec: it starts with none of {sorted(ORIGINALS)}; use "
            f"the published file name, or convert the file to transformers' `EncodecModel` first."
        )
    model = WaveformVQVAE(_config(ORIGINALS[known]))
    weights = {name: value for name, value in read_torch_file(path).items() if isinstance(value, torch.Tensor)}
    load_renamed(model, weights, lambda name: _original_name(name, model.config))
    return model


def save_encodec(model: WaveformVQVAE, path: str | Path) -> None:
    """Write a model as a file of the encodec package: only its weights; the package's code has the configuration.

    Args:
        model (`WaveformVQVAE`): As for `to_encodec`.
        path (`str` or `Path`): The file, usually `.th`.

    Raises:
        ValueError: As `to_encodec`; or the file exists.
    """
    if Path(path).exists():
        raise ValueError(f"{path} would be overwritten; name another file.")
    _check(model)
    torch.save({name: value.cpu() for name, value in _named(model, _original_name).items()}, path)


def from_encodec(encodec: EncodecModel) -> WaveformVQVAE:
    """Convert transformers' EnCodec.

    Args:
        encodec (`EncodecModel`): A model that codes a waveform as one piece.

    Returns:
        `WaveformVQVAE`: In evaluation mode. With all codebooks (EnCodec's highest bandwidth), it has the same codes
        and waveform for whole frames. An incomplete frame is padded with zeros, where EnCodec mirrors the signal.

    Raises:
        ValueError: A `WaveformVQVAE` does not support the configuration, or it has unknown keys.
    """
    model = WaveformVQVAE(_config(encodec.config))
    load_renamed(model, encodec.state_dict(), lambda name: _transformers_name(name, model.config))
    return model


def to_encodec(model: WaveformVQVAE) -> EncodecModel:
    """Convert a model to transformers' own class, for users without this package.

    The learning method of the codebooks is left out. The bandwidths are those of 1, 2, 4, ... and all codebooks.

    Args:
        model (`WaveformVQVAE`): A model with a configuration that an EnCodec supports.

    Returns:
        `EncodecModel`: In evaluation mode, with the same codes and waveform for whole frames.

    Raises:
        ValueError: A configuration value is not supported by EnCodec.
    """
    _check(model)
    config = model.config
    growth = config.residual_dilations[1] if len(config.residual_dilations) > 1 else 2
    encodec = EncodecModel(
        EncodecConfig(
            target_bandwidths=_bandwidths(config),
            sampling_rate=config.sampling_rate,
            audio_channels=config.audio_channels,
            normalize=config.normalize,
            hidden_size=config.hidden_size,
            num_filters=config.encoder_hidden_size,
            num_residual_layers=len(config.residual_dilations),
            upsampling_ratios=list(config.downsampling_ratios[::-1]),
            norm_type=config.norm,
            kernel_size=config.kernel_size,
            last_kernel_size=config.encoder_last_kernel_size,
            residual_kernel_size=config.residual_kernel_size,
            dilation_growth_rate=growth,
            use_causal_conv=config.causal,
            pad_mode=config.pad_mode,
            compress=config.residual_compression,
            num_lstm_layers=config.num_lstm_layers,
            codebook_size=config.codebook_size,
            codebook_dim=config.hidden_size,
            use_conv_shortcut=config.residual_shortcut,
        )
    )
    newer = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    weights = _named(model, _transformers_name)
    if config.norm == "weight_norm":
        weights = {re.sub(r"weight_[gv]$", lambda found: newer[found[0]], name): v for name, v in weights.items()}
    encodec.load_state_dict({name: value.clone() for name, value in weights.items()}, assign=True)
    return encodec.eval()


def _config(theirs: EncodecConfig) -> WaveformVQVAEConfig:
    check_known(theirs.to_dict(), EncodecConfig().to_dict(), "the EnCodec")
    impossible = {"chunk_length_s": None, "trim_right_ratio": 1.0, "codebook_dim": theirs.hidden_size}
    for key, value in impossible.items():
        if getattr(theirs, key) != value:
            raise ValueError(
                f"`{key}` {getattr(theirs, key)} is not supported by a `WaveformVQVAE`; it has to be {value}"
                + (": segments are not supported." if "chunk" in key else ".")
            )
    ratios = tuple(theirs.upsampling_ratios)[::-1]
    return WaveformVQVAEConfig(
        **ALWAYS,
        **TRAINED_LIKE_ENCODEC,
        audio_channels=theirs.audio_channels,
        sampling_rate=theirs.sampling_rate,
        encoder_hidden_size=theirs.num_filters,
        decoder_hidden_size=theirs.num_filters * 2 ** len(ratios),
        downsampling_ratios=ratios,
        hidden_size=theirs.hidden_size,
        kernel_size=theirs.kernel_size,
        encoder_last_kernel_size=theirs.last_kernel_size,
        decoder_last_kernel_size=theirs.last_kernel_size,
        residual_kernel_size=theirs.residual_kernel_size,
        residual_dilations=tuple(theirs.dilation_growth_rate**unit for unit in range(theirs.num_residual_layers)),
        residual_compression=theirs.compress,
        residual_shortcut=theirs.use_conv_shortcut,
        norm=theirs.norm_type,
        causal=theirs.use_causal_conv,
        pad_mode=theirs.pad_mode,
        num_lstm_layers=theirs.num_lstm_layers,
        normalize=theirs.normalize,
        num_codebooks=theirs.num_quantizers,
        codebook_size=theirs.codebook_size,
        codebook_dim=None,
    )


def _check(model: WaveformVQVAE) -> None:
    config, target = model.config, "an EnCodec"
    needed = dict(ALWAYS)
    if config.codebook_dim != config.hidden_size:
        needed["codebook_dim"] = None
    dilations = config.residual_dilations
    growth = dilations[1] if len(dilations) > 1 else 2
    needed["residual_dilations"] = tuple(growth**unit for unit in range(len(dilations)))
    needed["decoder_hidden_size"] = config.encoder_hidden_size * 2 ** len(config.downsampling_ratios)
    needed["decoder_last_kernel_size"] = config.encoder_last_kernel_size
    refuse(model, needed, target)
    if config.num_lstm_layers < 1 or config.audio_channels > 2:
        raise ValueError(
            f"`num_lstm_layers` {config.num_lstm_layers} and `audio_channels` {config.audio_channels} cannot be "
            f"written as {target}, which has an LSTM and at most 2 channels."
        )


def _bandwidths(config: WaveformVQVAEConfig) -> list[float]:
    """Kilobits per second of 1, 2, 4, ... and all codebooks, with frame rate and bits rounded up as in EnCodec."""
    counts = [1 << exponent for exponent in range((config.num_codebooks - 1).bit_length())] + [config.num_codebooks]
    per_codebook = math.ceil(config.sampling_rate / config.hop_length) * math.ceil(math.log2(config.codebook_size))
    kilobits = [count * per_codebook / 1000 for count in counts]
    # EnCodec divides again and rounds down: values slightly too low are raised, so that none loses a codebook.
    return [
        value if int(1000 * value // per_codebook) == count else math.nextafter(value, math.inf)
        for value, count in zip(kilobits, counts, strict=True)
    ]


def _named(model: WaveformVQVAE, name: Callable[[str, WaveformVQVAEConfig], str]) -> dict[str, torch.Tensor]:
    """Rename a model's weights and add all buffers of EnCodec's codebooks, marked as initialized."""
    config, named = model.config, {}
    for ours, value in model.state_dict().items():
        named[name(ours, config)] = torch.ones(1) if ours.endswith(".updates") else value
        if ours.endswith(".counts") and config.codebook_learning == "gradient":
            vectors = model.get_parameter(ours.replace(".counts", ".vectors")).detach()
            named[name(ours.replace(".counts", ".sums"), config)] = vectors * value[:, None]
    return named


def _transformers_name(name: str, config: WaveformVQVAEConfig) -> str:
    """Name a weight as `EncodecModel` does, by its layer's index in a sequence, in weight norm's older spelling."""
    side, *path = name.split(".")
    if side == "quantizer":  # quantizer.quantizers.q.codebook.vectors
        return f"quantizer.layers.{path[1]}.codebook.{CODEBOOK[path[-1]]}"
    blocks, units = len(config.downsampling_ratios), len(config.residual_dilations)
    lstm = int(config.num_lstm_layers > 0)
    in_block = units + 2  # layers of a block: units, activation, convolution
    first_block = 1 if side == "encoder" else 1 + lstm
    after = first_block + blocks * in_block
    if path[0] == "blocks":
        start = first_block + int(path[1]) * in_block
        if path[2] == "conv":
            index, layer, rest = start + (units + 1 if side == "encoder" else 1), "", path[3:]
        else:
            index = start + int(path[3]) + (0 if side == "encoder" else 2)
            layer, rest = {"conv1": ".block.1", "conv2": ".block.3", "shortcut": ".shortcut"}[path[4]], path[5:]
    else:
        last = after + (lstm if side == "encoder" else 0) + 1
        index = {"conv1": 0, "lstm": after if side == "encoder" else 1, "conv2": last}[path[0]]
        layer, rest = "", path[1:]
    convolution = "" if path[0] == "lstm" or rest[0] == "norm" else ".conv"
    return f"{side}.layers.{index}{layer}{convolution}." + ".".join(rest)


def _original_name(name: str, config: WaveformVQVAEConfig) -> str:
    """Name a weight as the encodec package does, which wraps each convolution twice."""
    theirs = _transformers_name(name, config)
    if theirs.startswith("quantizer."):
        return theirs.replace("quantizer.layers", "quantizer.vq.layers").replace(".codebook.", "._codebook.")
    kind = "convtr" if re.match(r"decoder\.blocks\.\d+\.conv\.", name) else "conv"
    theirs = theirs.replace(".layers.", ".model.", 1)
    return theirs.replace(".conv.", f".{kind}.{kind}.").replace(".norm.", f".{kind}.norm.")
