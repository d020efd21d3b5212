"""The Hugging Face classes, and the registry of families by the name a configuration carries."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch

from hf_audio_vae.models.latent_conditioner.modeling_latent_conditioner import LatentConditioner
from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE

__all__ = ["FAMILIES", "AutoencoderModel", "LatentConditioner", "WaveformVAE", "load_autoencoder", "new_autoencoder"]

FAMILIES = {"WaveformVAE": WaveformVAE}
# Classes of other libraries whose folders a family of ours reads as they are.
READ_AS = {"AutoencoderOobleck": WaveformVAE}

AutoencoderModel = WaveformVAE


def new_autoencoder(family: str, config: Mapping[str, object]) -> AutoencoderModel:
    """Make a model with random weights.

    Args:
        family (`str`): A name in `FAMILIES`.
        config (`Mapping[str, object]`): Arguments of that class.

    Raises:
        ValueError: No such family, or it takes no such argument.
    """
    if family not in FAMILIES:
        raise ValueError(f"`family` {family!r} is none of {sorted(FAMILIES)}.")
    known = inspect.signature(FAMILIES[family].__init__).parameters
    unknown = sorted(config.keys() - known.keys())
    if unknown:
        raise ValueError(f"{family} takes no {', '.join(unknown)}; it takes {', '.join(list(known)[1:])}.")
    return FAMILIES[family](**config)


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
    place = {"subfolder": subfolder, "revision": revision}
    class_name = WaveformVAE.load_config(name, **place).get("_class_name")
    known = FAMILIES | READ_AS
    if class_name not in known:
        raise ValueError(f"{name} holds a {class_name}, which is none of {sorted(known)}.")
    return known[class_name].from_pretrained(name, torch_dtype=torch_dtype, **place)
