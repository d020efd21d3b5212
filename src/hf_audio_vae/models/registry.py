"""The registry of families: which class a name or a saved configuration stands for."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE

CodecModel = WaveformVQVAE | HierarchicalVQVAE  # a `PreTrainedModel`, made from a configuration
AutoencoderModel = WaveformVAE | CodecModel

FAMILIES: dict[str, type[AutoencoderModel]] = {
    "WaveformVAE": WaveformVAE,
    "WaveformVQVAE": WaveformVQVAE,
    "HierarchicalVQVAE": HierarchicalVQVAE,
}
# Classes of other libraries whose folders a family of ours reads as they are.
READ_AS: dict[str, type[AutoencoderModel]] = {"AutoencoderOobleck": WaveformVAE}


def new_autoencoder(family: str, config: Mapping[str, object]) -> AutoencoderModel:
    """Make a model with random weights.

    Args:
        family (`str`): A name in `FAMILIES`.
        config (`Mapping[str, object]`): Arguments of that class, or of its configuration.

    Raises:
        ValueError: No such family, or it takes no such argument.
    """
    if family not in FAMILIES:
        raise ValueError(f"`family` {family!r} is none of {sorted(FAMILIES)}.")
    model_class = FAMILIES[family]
    known = _argument_names(model_class)
    unknown = sorted(config.keys() - set(known))
    if unknown:
        raise ValueError(f"{family} takes no {', '.join(unknown)}; it takes {', '.join(known)}.")
    if issubclass(model_class, CodecModel):
        make: Callable[[Any], CodecModel] = model_class
        return make(model_class.config_class.from_dict(dict(config)))
    return model_class(**config)


def model_arguments(model: AutoencoderModel) -> dict[str, object]:
    """Return what `new_autoencoder` makes such a model from, with lists for tuples, fit for YAML."""
    values = {name: getattr(model.config, name) for name in _argument_names(type(model))}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def load_autoencoder(
    pretrained_model_name_or_path: str | Path,
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    torch_dtype: torch.dtype | None = None,
) -> AutoencoderModel:
    """Load a saved model of any family, found by the class its configuration names.

    Args:
        pretrained_model_name_or_path (`str` or `Path`): A folder or a Hub id.
        subfolder (`str`, *optional*): Where in it the model is; `"vae"` in a pipeline.
        revision (`str`, *optional*): Version of a Hub model.
        torch_dtype (`torch.dtype`, *optional*): Type of the weights, float32 if not given.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: The configuration names a class that no family reads.
        OSError: There is no such folder or repository.
    """
    name = str(pretrained_model_name_or_path)
    class_name = saved_class(name, subfolder=subfolder, revision=revision)
    model_class = (FAMILIES | READ_AS).get(class_name)
    if model_class is None:
        raise ValueError(f"{name} holds a {class_name}, which is none of {sorted(FAMILIES | READ_AS)}.")
    if issubclass(model_class, CodecModel):
        dtype = torch_dtype or torch.float32
        return model_class.from_pretrained(name, dtype=dtype, subfolder=subfolder or "", revision=revision or "main")
    return model_class.from_pretrained(name, torch_dtype=torch_dtype, subfolder=subfolder, revision=revision)


def load_vae(
    pretrained_model_name_or_path: str | Path, *, subfolder: str | None = None, revision: str | None = None
) -> WaveformVAE:
    """Load a saved model with latents that a diffusion model can be trained on.

    Args:
        pretrained_model_name_or_path (`str` or `Path`): A folder or a Hub id.
        subfolder (`str`, *optional*): Where in it the model is.
        revision (`str`, *optional*): Version of a Hub model.

    Raises:
        ValueError: It is of no known class, or of one with codes.
        OSError: There is no such folder or repository.
    """
    model = load_autoencoder(pretrained_model_name_or_path, subfolder=subfolder, revision=revision)
    if isinstance(model, CodecModel):
        raise ValueError(
            f"{pretrained_model_name_or_path} is a {type(model).__name__}: it has codes, which a language model is "
            f"trained on, and no latents for diffusion; name a WaveformVAE."
        )
    return model


def saved_config(name: str, *, subfolder: str | None = None, revision: str | None = None) -> dict[str, Any]:
    """Return the content of a saved model's `config.json`, whichever library wrote it.

    Raises:
        OSError: There is no such folder or repository.
    """
    return WaveformVAE.load_config(name, subfolder=subfolder, revision=revision)


def saved_class(name: str, *, subfolder: str | None = None, revision: str | None = None) -> str:
    """Return the class that it names, in diffusers' way or in transformers'; raises as `saved_config`."""
    config = saved_config(name, subfolder=subfolder, revision=revision)
    return config.get("_class_name") or (config.get("architectures") or ["model of no class"])[0]


def _argument_names(model_class: type[AutoencoderModel]) -> list[str]:
    if issubclass(model_class, CodecModel):
        return [name for name in inspect.get_annotations(model_class.config_class) if name != "model_type"]
    signature: Callable[..., object] = model_class.__init__
    return list(inspect.signature(signature).parameters)[1:]
