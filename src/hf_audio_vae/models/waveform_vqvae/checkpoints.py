"""Shared code of readers and writers for other codecs: names of weights, and forms of weight norm."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE


def load_renamed(model: WaveformVQVAE, weights: Mapping[str, Tensor], their_name: Callable[[str], str]) -> None:
    """Load weights of another codec into a model; weights that only the model has are kept.

    Args:
        model (`WaveformVQVAE`): Made from the checkpoint's configuration.
        weights (`Mapping[str, torch.Tensor]`): With either of torch's names for weight norm, or fused.
        their_name (`Callable[[str], str]`): Maps a name of the model to the name in the checkpoint, with the older
            names of weight norm; empty if the checkpoint has no such weight.

    Raises:
        ValueError: A weight is missing, unknown, or has another shape.
    """
    state = model.state_dict()
    names = {name: their_name(name) for name in state if their_name(name)}
    theirs = _split({_older_spelling(name): value for name, value in weights.items()}, set(names.values()))
    remedy = "give the configuration that it was made with"
    if differing := sorted(theirs.keys() ^ set(names.values())):
        where = "unknown to the configuration" if differing[0] in theirs else "missing from the checkpoint"
        raise ValueError(f"{differing[0]} is {where}, one of {len(differing)} names that differ; {remedy}.")
    for ours, name in names.items():
        value = theirs[name].reshape(()) if ours.endswith(".updates") else theirs[name]
        shape, needed = tuple(value.shape), tuple(state[ours].shape)
        if shape != needed:
            raise ValueError(f"{name} has the shape {shape}, the configuration requires {needed}; {remedy}.")
        state[ours] = value.to(state[ours].dtype)
    for name in state.keys() - names.keys():
        if name.endswith(".updates"):
            state[name] = torch.ones_like(state[name])  # loaded codebooks are not initialized from data
    model.load_state_dict(state)
    model.eval()


def fuse_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Merge the length and direction of weight norm into plain weights."""
    result = {}
    for name, value in weights.items():
        if name.endswith(".weight_v"):
            length = torch.linalg.vector_norm(value, dim=(1, 2), keepdim=True)
            result[f"{_parent(name)}.weight"] = value * (weights[f"{_parent(name)}.weight_g"] / length)
        elif not name.endswith(".weight_g"):
            result[name] = value
    return result


def check_known(given: Iterable[str], known: Iterable[str], source: str) -> None:
    """Raise `ValueError` if a configuration has keys that its class does not know: they may change the computation."""
    if unknown := sorted(key for key in set(given) - set(known) if not key.startswith("_")):
        raise ValueError(
            f"the configuration of {source} has the unknown key{'s' * (len(unknown) > 1)} {', '.join(unknown)}, whose "
            f"effect a conversion would lose; delete what has no effect."
        )


def refuse(model: WaveformVQVAE, needed: Mapping[str, object], target: str) -> None:
    """Raise `ValueError` for the first configuration value that differs from the fixed one of another codec."""
    for key, value in {"stft_options": None, "quantizer": None, **needed}.items():
        if getattr(model.config, key) != value:
            raise ValueError(
                f"`{key}` {getattr(model.config, key)!r} cannot be written as {target}, which has {value!r}."
            )
    size = model.config.codebook_size
    if size & (size - 1):
        raise ValueError(f"`codebook_size` {size} cannot be written as {target}, which needs a power of 2.")


def _split(weights: Mapping[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """Split weights into length and direction where `names` has these."""
    result = {}
    for name, value in weights.items():
        if f"{name}_g" not in names:
            result[name] = value
            continue
        length = torch.linalg.vector_norm(value, dim=(1, 2), keepdim=True)
        result[f"{name}_g"] = length
        result[f"{name}_v"] = torch.where(length == 0, torch.ones_like(value), value)  # any direction for length 0
    return result


def _older_spelling(name: str) -> str:
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
