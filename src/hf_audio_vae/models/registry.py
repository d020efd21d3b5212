"""The registry of families: maps a name or a saved configuration to a class."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from hf_audio_vae.files import check_regular_folder
from hf_audio_vae.files.pretrained import read_config
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from hf_audio_vae.models.lora import BaseLocation, LoraAdapter, is_adapter
from hf_audio_vae.models.peers import PEERS
from hf_audio_vae.models.published_formats import PUBLISHED_FORMATS
from hf_audio_vae.models.spectrogram_vae.modeling_spectrogram_vae import SpectrogramVAE
from hf_audio_vae.models.stft_vae.modeling_stft_vae import STFTVAE
from hf_audio_vae.models.variational import VariationalAutoencoderMixin
from hf_audio_vae.models.wave_vae.modeling_wave_vae import WaveVAE
from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE
from hf_audio_vae.models.waveform_vqvae.modeling_waveform_vqvae import WaveformVQVAE

AutoencoderModel = AudioAutoencoderMixin

logger = logging.getLogger(__name__)

FAMILIES: dict[str, type[AutoencoderModel]] = {
    "WaveformVAE": WaveformVAE,
    "STFTVAE": STFTVAE,
    "SpectrogramVAE": SpectrogramVAE,
    "WaveformVQVAE": WaveformVQVAE,
    "HierarchicalVQVAE": HierarchicalVQVAE,
    "WaveVAE": WaveVAE,
}


class Loads(Protocol):
    """A family, or the format of another class."""

    def load(self, name: str, **location: Any) -> AutoencoderModel:
        """Load a model; see `AudioAutoencoderMixin.load`."""


def new_autoencoder(family: str, config: Mapping[str, object]) -> AutoencoderModel:
    """Make a model with random weights.

    Args:
        family (`str`): A name in `FAMILIES`.
        config (`Mapping[str, object]`): Arguments of that class, or of its configuration.

    Raises:
        ValueError: No such family, it takes no such argument, or the model does not fit into the memory.
    """
    model_class = (FAMILIES | PEERS).get(family)
    if model_class is None:
        raise ValueError(f"`family` {family!r} is unknown; use one of {sorted(FAMILIES | PEERS)}.")
    known = model_class.argument_names()
    unknown = sorted(config.keys() - set(known))
    if unknown:
        raise ValueError(f"{family} has no argument {', '.join(unknown)}; use {', '.join(known)}.")
    _check_memory(model_class, config)
    return model_class.from_arguments(config)


def model_arguments(model: AutoencoderModel) -> dict[str, object]:
    """Return the arguments for `new_autoencoder` to make such a model, with lists for tuples, for YAML."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in model.arguments().items()}


def with_training_arguments(model: AutoencoderModel, arguments: Mapping[str, object]) -> AutoencoderModel:
    """Return a model with other arguments of its training; its weights, and what it computes, stay.

    Args:
        model (`AutoencoderModel`): Model of a family.
        arguments (`Mapping[str, object]`): Such as `quantizer_dropout` of a codec, or `past_dropout` of a `WaveVAE`.

    Raises:
        ValueError: An argument changes more than the training, or a value is out of range.
    """
    of_training = model.descriptive_arguments - VariationalAutoencoderMixin.descriptive_arguments
    allowed = sorted(of_training & set(model.argument_names()))
    if wrong := sorted(arguments.keys() - set(allowed)):
        raise ValueError(
            f"{wrong} of a {model.family_name()} cannot be changed after its training; "
            f"{f'only {allowed} can' if allowed else 'none of its arguments can'}."
        )
    changed = new_autoencoder(model.family_name(), model.arguments() | dict(arguments))
    weights = model.state_dict()
    if differing := sorted(weights.keys() ^ changed.state_dict().keys()):
        raise ValueError(
            f"{sorted(arguments)} of a {model.family_name()} change which weights it has ({differing[0]}); leave out "
            f"`codebook_learning`, and train with the learning that the model has."
        )
    changed.load_state_dict(weights)
    changed.published_format = model.published_format
    return changed


def load_autoencoder(
    pretrained_model_name_or_path: str | Path,
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    variant: str | None = None,
    torch_dtype: torch.dtype | str | None = None,
) -> AutoencoderModel:
    """Load a saved model of any family or published class, found by the class that its configuration names.

    A model of `AutoencoderOobleck`, `AutoencoderKLLTX2Audio`, `MMAudioVAE`, `DacModel` or `EncodecModel` is read into
    the family that equals it; other published classes stay as they are behind an adapter. Both are published as their
    original class again. An adapter is merged into the model that it was trained on.

    Args:
        pretrained_model_name_or_path (`str` or `Path`): A folder or a Hub id.
        subfolder (`str`, *optional*): Folder of the model in it; `"vae"` in a pipeline.
        revision (`str`, *optional*): Version of a Hub model.
        variant (`str`, *optional*): Variant of the weights, such as `"fp16"`.
        torch_dtype (`torch.dtype` or `str`, *optional*): Dtype of the weights, float32 if not given.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: The configuration names a class that no family reads, or see `from_pretrained`.
        OSError: There is no such folder or repository.
    """
    location = BaseLocation(str(pretrained_model_name_or_path), subfolder, revision)
    try:
        return _load_whole(location, variant, torch_dtype)
    except OSError:
        if not is_adapter(location.name, subfolder=subfolder, revision=revision):
            raise
    adapter = LoraAdapter.from_pretrained(location.name, subfolder=subfolder, revision=revision)
    return load_merged(adapter, variant=variant, torch_dtype=torch_dtype)


def load_merged(
    adapter: LoraAdapter,
    base: BaseLocation | None = None,
    *,
    variant: str | None = None,
    torch_dtype: torch.dtype | str | None = None,
) -> AutoencoderModel:
    """Load the model that an adapter was trained on, and merge the adapter into it.

    Args:
        adapter (`LoraAdapter`): The adapter.
        base (`BaseLocation`, *optional*): Location of the model, if it has moved since.
        variant (`str`, *optional*): Variant of the weights of the model, such as `"fp16"`.
        torch_dtype (`torch.dtype` or `str`, *optional*): Dtype of the weights, float32 if not given.

    Returns:
        The model, in evaluation mode.

    Raises:
        ValueError: The adapter does not fit the model, or the model that it names has other weights than in its
            training; or see `load_autoencoder`.
        OSError: There is no such model.
    """
    given, base = base, base or adapter.base
    if base is None:
        raise ValueError("the adapter names no model that it changes; give one to `hf-audio-vae merge`.")
    folder = Path(base.name, base.subfolder or "")
    if folder.is_dir():
        check_regular_folder(folder)
    try:
        model = _load_whole(base, variant, torch_dtype)
    except OSError as error:
        raise OSError(
            f"the model that the adapter changes, {base.name}, cannot be loaded; give its location to "
            f"`hf-audio-vae merge`. {error}"
        ) from error
    if variant is None and torch_dtype is None and not adapter.was_trained_on(model):
        changed = f"{base.name} does not have the weights that the adapter was trained on"
        if given is None:
            raise ValueError(f"{changed}; restore them, or give a model to `hf-audio-vae merge`.")
        logger.warning("%s; the adapter is merged into it nevertheless.", changed)
    adapter.merge_into(model)
    return model


def _load_whole(
    location: BaseLocation, variant: str | None, torch_dtype: torch.dtype | str | None
) -> AutoencoderModel:
    """Load a saved model that is no adapter."""
    name, subfolder, revision = location.name, location.subfolder, location.revision
    class_name = saved_class(name, subfolder=subfolder, revision=revision)
    loader = loaders().get(class_name)
    if loader is None:
        raise ValueError(f"{name} holds a {class_name}; pass a model of one of {sorted(loaders())}.")
    return loader.load(name, subfolder=subfolder, revision=revision, variant=variant, dtype=torch_dtype)


def loaders() -> dict[str, Loads]:
    """Return what loads a saved model, by the class that its configuration names."""
    return {**FAMILIES, **PUBLISHED_FORMATS, **PEERS, "MelVAE": SpectrogramVAE}


def load_vae(
    pretrained_model_name_or_path: str | Path,
    *,
    subfolder: str | None = None,
    revision: str | None = None,
    variant: str | None = None,
    torch_dtype: torch.dtype | str | None = None,
) -> VariationalAutoencoderMixin:
    """Load a saved model with latents that a diffusion model can be trained on.

    Args:
        pretrained_model_name_or_path (`str` or `Path`): A folder or a Hub id.
        subfolder (`str`, *optional*): Folder of the model in it.
        revision (`str`, *optional*): Version of a Hub model.
        variant (`str`, *optional*): Variant of the weights, such as `"fp16"`.
        torch_dtype (`torch.dtype` or `str`, *optional*): Dtype of the weights, float32 if not given.

    Raises:
        ValueError: The class is unknown, or its models have codes; or see `from_pretrained`.
        OSError: There is no such folder or repository.
    """
    model = load_autoencoder(
        pretrained_model_name_or_path, subfolder=subfolder, revision=revision, variant=variant, torch_dtype=torch_dtype
    )
    if model.codebook_sizes:
        raise ValueError(
            f"{pretrained_model_name_or_path} is a {type(model).__name__}: it has codes for a language model and no "
            f"latents for a diffusion model; name a VAE."
        )
    return cast(VariationalAutoencoderMixin, model)


def saved_config(name: str, *, subfolder: str | None = None, revision: str | None = None) -> dict[str, Any]:
    """Return the content of a saved model's `config.json`, whichever library wrote it.

    Raises:
        ValueError: `name` is a file or a training checkpoint, or its `config.json` holds no dictionary.
        OSError: There is no such folder or repository.
    """
    return read_config(name, subfolder=subfolder, revision=revision)[0]


def saved_class(name: str, *, subfolder: str | None = None, revision: str | None = None) -> str:
    """Return the class named by a configuration of diffusers or transformers; raises as `saved_config`."""
    config = saved_config(name, subfolder=subfolder, revision=revision)
    architectures = config.get("architectures")
    named = config.get("_class_name") or (
        architectures[0] if isinstance(architectures, list) and architectures else ""
    )
    return named if named and isinstance(named, str) else "model without a class name"


def keeps_statistics(folder: Path) -> bool:
    """Whether the `config.json` of a saved model has a place for the statistics of its latents.

    It has none for an adapter, and for a class of another package, which does not know the keys.
    """
    name = str(folder)
    return not is_adapter(name) and saved_class(name) not in {*PUBLISHED_FORMATS, *PEERS}


def _check_memory(model_class: type[AutoencoderModel], config: Mapping[str, object]) -> None:
    """Raise `ValueError` if the weights of a model do not fit into the memory of this machine."""
    try:
        with torch.device("meta"):
            needed = sum(value.nbytes for value in model_class.from_arguments(config).state_dict().values())
    except RuntimeError as error:
        raise ValueError(f"a {model_class.__name__} of {dict(config)} is too large: {error}") from error
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        raise ValueError(
            f"a {model_class.__name__} of {dict(config)} has {needed / 2**30:.1f} GiB of weights, this machine "
            f"{available / 2**30:.1f} GiB of memory; reduce its sizes."
        )
