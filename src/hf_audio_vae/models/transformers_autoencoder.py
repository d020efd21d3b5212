"""Base class of autoencoders on transformers' `PreTrainedModel`."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.waveform_vqvae.feature_extraction_waveform_vqvae import WaveformVQVAEFeatureExtractor


class TransformersAutoencoderMixin(AudioAutoencoderMixin):
    """An autoencoder of waveforms, on transformers' `PreTrainedModel` with a configuration."""

    config_class: type[PreTrainedConfig]

    def enable_gradient_checkpointing(self: Any) -> None:
        """Recompute blocks in the backward pass; the method has diffusers' name."""
        self.activation_checkpointing_enable()

    def save_published(self, folder: Path) -> None:
        """Write the model and its feature extractor."""
        super().save_published(folder)
        WaveformVQVAEFeatureExtractor(self.config.audio_channels, self.sampling_rate).save_pretrained(folder)

    @classmethod
    def argument_names(cls) -> list[str]:
        """Return the fields of the configuration."""
        return [name for name in inspect.get_annotations(cls.config_class) if name != "model_type"]

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Any:
        """Make a model with random weights from the fields of its configuration."""
        make: Callable[[PreTrainedConfig], Any] = cls
        return make(cls.config_class.from_dict(dict(arguments)))

    @classmethod
    def load(
        cls: Any,
        name: str,
        *,
        subfolder: str | None = None,
        revision: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """Load a model from a folder or a Hub id, in evaluation mode; in float32 if no `dtype` is given.

        Raises:
            OSError: There is no such folder or repository.
        """
        location = {"subfolder": subfolder or "", "revision": revision or "main"}
        return cls.from_pretrained(name, dtype=dtype or torch.float32, **location)
