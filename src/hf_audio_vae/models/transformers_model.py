"""Checked loading and registration of models on transformers' `PreTrainedModel`."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self

from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from hf_audio_vae.files.pretrained import CheckedPretrainedMixin
from hf_audio_vae.files.weights import first_names


class TransformersModelMixin(CheckedPretrainedMixin):
    """A model with a configuration of transformers, whose fields are the model's arguments."""

    config_class: type[PreTrainedConfig]
    weights_stem = "model"
    prefers_index = False
    # `Trainer` writes `use_cache` into the configuration of every model.
    library_keys = frozenset(
        {*PreTrainedConfig().to_dict(), "auto_map", "quantization_config", "torch_dtype", "use_cache"}
    )

    def __init__(self, config: PreTrainedConfig, *arguments: Any, **options: Any) -> None:
        """Make the model; raises `ValueError` for keys of the configuration that it would ignore, as a load does."""
        known = {*self.argument_names(), *self.library_keys}
        if unknown := sorted(key for key in config.to_dict() if key not in known and not key.startswith("_")):
            raise ValueError(f"a {type(config).__name__} has no {first_names(unknown)}; correct or remove these keys.")
        make: Callable[..., None] = super().__init__
        make(config, *arguments, **options)

    @classmethod
    def register(cls: Any) -> None:
        """Register configuration and model with transformers' `Auto` classes."""
        AutoConfig.register(cls.config_class.model_type, cls.config_class, exist_ok=True)
        AutoModel.register(cls.config_class, cls, exist_ok=True)

    @classmethod
    def argument_defaults(cls) -> dict[str, object]:
        """Return the fields of the configuration, with their defaults."""
        names = [name for name in inspect.get_annotations(cls.config_class) if name != "model_type"]
        return {name: getattr(cls.config_class, name, None) for name in names}

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Make a model with random weights from the fields of its configuration.

        Raises:
            ValueError: A value has the wrong type, or is out of range.
        """
        make: Callable[[PreTrainedConfig], Self] = cls
        try:
            return make(cls.config_class.from_dict(dict(arguments)))
        except StrictDataclassError as error:
            raise ValueError(" ".join(str(error).split())) from error
