"""Reader and writer for Jukebox's autoencoder, in the layout of its published checkpoint.

It has the layers of a `HierarchicalVQVAE` under other names.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from hf_audio_vae.models.torch_files import read_torch_file

# Jukebox's names of hyperparameters of the architecture, and ours; its others are for training.
KEYS = {
    "downs_t": "downsampling_counts",
    "strides_t": "strides",
    "emb_width": "hidden_size",
    "l_bins": "codebook_size",
    "l_mu": "ema_decay",
    "hvqvae_multipliers": "level_multipliers",
    "width": "width",
    "depth": "depth",
    "m_conv": "unit_expansion",
    "dilation_growth_rate": "dilation_growth",
    "dilation_cycle": "dilation_cycle",
    "vqvae_reverse_decoder_dilation": "reverse_decoder_dilation",
    "sr": "sampling_rate",
}
UNIT_LAYERS = {"conv1": 1, "conv2": 3}  # indices of a residual unit's convolutions in its sequence with ReLUs


def load_jukebox(path: str | Path) -> HierarchicalVQVAE:
    """Read a checkpoint of Jukebox's autoencoder, as published in `vqvae.pth.tar`.

    Args:
        path (`str` or `Path`): A file with `{"model": state dict, "hps": hyperparameters, ...}`, or with only a state
            dict, which is then read with the published hyperparameters.

    Returns:
        `HierarchicalVQVAE`: As `from_jukebox`.

    Raises:
        ValueError: As `from_jukebox`; or there is no such file, it is damaged, or it needs pickled objects, which can
            run any code.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}; give the path of a `vqvae.pth.tar`.")
    content: Any = read_torch_file(path, remedy="save {'model': its state dict, 'hps': dict(its hps)}")
    return from_jukebox(content.get("model", content), content.get("hps"))


def save_jukebox(model: HierarchicalVQVAE, path: str | Path) -> None:
    """Write a model as a Jukebox checkpoint.

    Args:
        model (`HierarchicalVQVAE`): As for `to_jukebox`.
        path (`str` or `Path`): The file to write.

    Raises:
        ValueError: As `to_jukebox`; or the file exists.
    """
    path = Path(path)
    if path.exists():
        raise ValueError(f"{path} would be overwritten; name another file.")
    weights, hps = to_jukebox(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: value.cpu() for name, value in weights.items()}
    torch.save({"hps": hps, "model": weights, "opt": None, "step": 0}, path)


def from_jukebox(weights: Mapping[str, Tensor], hps: Mapping[str, object] | None = None) -> HierarchicalVQVAE:
    """Make a model from the weights of a Jukebox autoencoder; it gives the same codes and the same waveforms.

    Args:
        weights (`Mapping[str, torch.Tensor]`): The state dict; a prefix `module.` of the names is removed.
        hps (`Mapping[str, object]`, *optional*): Hyperparameters by Jukebox's names; unknown ones are ignored, and
            missing ones have the published values.

    Returns:
        `HierarchicalVQVAE`: In float32 and evaluation mode. A checkpoint holds no moving averages of the codebooks:
            they start as if each vector had been used once.

    Raises:
        ValueError: A `HierarchicalVQVAE` does not support the hyperparameters, or they do not fit the weights.
    """
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    first = weights.get("encoders.0.level_blocks.0.model.0.0.weight")
    if first is None:
        raise ValueError(
            f"the checkpoint has no Jukebox autoencoder: `encoders.0.level_blocks.0.model.0.0.weight` is missing, "
            f"its first names are {sorted(weights)[:3]}; give a `vqvae.pth.tar`."
        )
    config = HierarchicalVQVAEConfig(audio_channels=first.shape[1], **_config_keys(hps or {}))
    model = HierarchicalVQVAE(config)
    model.load_state_dict(model.state_dict() | _renamed(weights, model))
    for quantizer in model.quantizers:
        codebook = quantizer.codebook
        codebook.counts.fill_(1)
        codebook.sums.copy_(codebook.vectors)
        codebook.updates.fill_(1)
    return model.eval()


def to_jukebox(model: HierarchicalVQVAE) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Return a model's weights and hyperparameters by Jukebox's names.

    Args:
        model (`HierarchicalVQVAE`): A model with a configuration that Jukebox supports.

    Returns:
        `tuple[dict[str, torch.Tensor], dict[str, object]]`: The state dict, which shares its memory with the model,
        and the hyperparameters.

    Raises:
        ValueError: The model is not mono, shares an encoder, decodes jointly, searches codes by angle, or has an
            odd stride.

    Example:
        >>> weights, hps = to_jukebox(HierarchicalVQVAE(HierarchicalVQVAEConfig(width=8, depth=1, codebook_size=16)))
        >>> next(iter(weights)), hps["downs_t"]
        ('encoders.0.level_blocks.0.model.0.0.weight', (3, 2, 2))
    """
    config = model.config
    for key, value in (
        ("audio_channels", 1),
        ("shared_encoder", False),
        ("joint_decoding", False),
        ("cosine", False),
    ):
        if getattr(config, key) != value:
            raise ValueError(
                f"`{key}={getattr(config, key)}` cannot be written as a Jukebox autoencoder, which has {value}; keep "
                f"the model in its own format."
            )
    if odd := [stride for stride in config.strides if stride % 2]:
        raise ValueError(
            f"odd strides {odd} cannot be written as a Jukebox autoencoder, which loses samples there; keep the model "
            f"in its own format."
        )
    counts, state = config.downsampling_counts, model.state_dict()
    weights = {_their_name(name, counts): value for name, value in state.items() if _is_theirs(name)}
    hps = {theirs: getattr(config, ours) for theirs, ours in KEYS.items()}
    return weights, {"levels": model.num_levels, **hps, "use_bottleneck": True}


def _config_keys(hps: Mapping[str, object]) -> dict[str, Any]:
    """Read the hyperparameters of the architecture; `ValueError` for unsupported ones."""
    if hps.get("use_bottleneck", True) is not True:
        raise ValueError("`use_bottleneck` is off: this autoencoder has no codes; use one with a bottleneck.")
    config: dict[str, Any] = {ours: hps[theirs] for theirs, ours in KEYS.items() if theirs in hps}
    strides = config.get("strides", HierarchicalVQVAEConfig.strides)
    levels = hps.get("levels", len(strides))
    if levels != len(strides):
        raise ValueError(f"`levels` is {levels}, but `strides_t` {strides} has {len(strides)} numbers; give as many.")
    if config.get("level_multipliers", ()) is None:
        config["level_multipliers"] = (1,) * len(strides)
    return config


def _renamed(weights: Mapping[str, Tensor], model: HierarchicalVQVAE) -> dict[str, Tensor]:
    """Return the weights as `model` names them, in float32; `ValueError` if they do not fit it."""
    expected = model.state_dict()
    ours = {_their_name(name, model.config.downsampling_counts): name for name in expected if _is_theirs(name)}
    if differing := sorted(ours.keys() ^ weights.keys()):
        where = "missing from the checkpoint" if differing[0] in ours else "unknown to its hyperparameters"
        raise ValueError(
            f"{differing[0]} is {where}, one of {len(differing)} names that differ; give the `hps` it was made with."
        )
    for theirs, name in ours.items():
        shape, needed = tuple(weights[theirs].shape), tuple(expected[name].shape)
        if shape != needed:
            raise ValueError(
                f"{theirs} has the shape {shape}, its hyperparameters need {needed}; give the `hps` it was made with."
            )
    return {ours[name]: value.to(torch.float32) for name, value in weights.items()}


def _is_theirs(name: str) -> bool:
    """Whether a checkpoint holds this tensor: all but the moving averages of the codebooks."""
    return not name.startswith("quantizers") or name.endswith(".vectors")


def _their_name(name: str, counts: Sequence[int]) -> str:
    """Name a tensor by its layer's index in each of the nested sequences; `counts` are the stages per block."""
    side, level, *layers, kind = name.split(".")
    if side == "quantizers":
        return f"bottleneck.level_blocks.{level}.k"
    if layers == ["conv_out"]:
        return f"{side}.{level}.out.{kind}"
    _, block, *layers = layers
    return f"{side}.{level}.level_blocks.{block}.model.{_their_layer(side, layers, counts[int(block)])}.{kind}"


def _their_layer(side: str, layers: list[str], count: int) -> str:
    """Index of a layer in a block: an encoder's block ends with a convolution, a decoder's begins with one."""
    encodes = side == "encoders"
    if layers[0] != "stages":
        return str(count if encodes else 0)
    stage = int(layers[1]) + (0 if encodes else 1)
    if layers[2] != "units":
        return f"{stage}.{0 if encodes else 1}"
    return f"{stage}.{1 if encodes else 0}.model.{layers[3]}.model.{UNIT_LAYERS[layers[4]]}"
