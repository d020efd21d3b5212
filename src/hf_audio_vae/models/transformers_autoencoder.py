"""Base class of autoencoders on transformers' `PreTrainedModel`."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoFeatureExtractor, AutoModelForAudioTokenization

from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.initialization import initialize_weights
from hf_audio_vae.models.transformers_model import TransformersModelMixin
from hf_audio_vae.models.waveform_vqvae.feature_extraction_waveform_vqvae import WaveformVQVAEFeatureExtractor
from hf_audio_vae.modules.quantization import Quantizer, VectorQuantizer


class TransformersAutoencoderMixin(TransformersModelMixin, AudioAutoencoderMixin):
    """An autoencoder of waveforms, on transformers' `PreTrainedModel` with a configuration."""

    library_name = "transformers"
    learning_by_statistics = (*AudioAutoencoderMixin.learning_by_statistics, VectorQuantizer)
    descriptive_arguments = frozenset(
        ("codebook_learning", "ema_decay", "restart_share", "kmeans_start", "quantizer_dropout", "rotation_trick")
    )
    # Statistics of training; a codebook without them counts as trained.
    _keys_to_ignore_on_load_missing: ClassVar[Any] = [r"codebook\.(updates|counts|sums)$"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise weights that were not loaded; transformers calls this for every module."""
        initialize_weights(module)

    def freeze_encoder(self) -> None:
        """Freeze encoders and codebooks, also in training mode, so that only the decoders train.

        Quantizer dropout stays on, so that a decoder still learns every number of codebooks.
        """
        quantizers = [module for module in self.modules() if isinstance(module, Quantizer)]
        for module in (*(coding.network for coding in self.encodings()), *quantizers):
            module.requires_grad_(False)
        self.freeze_statistics()

    def enable_gradient_checkpointing(self: Any) -> None:
        """Recompute blocks in the backward pass; diffusers' models have a method of the same name."""
        self.activation_checkpointing_enable()

    def save_published(self, folder: Path) -> None:
        """Write the model and its feature extractor; see `AudioAutoencoderMixin`."""
        super().save_published(folder)
        if self.published_format is None:
            WaveformVQVAEFeatureExtractor(self.config.audio_channels, self.sampling_rate).save_pretrained(folder)

    @classmethod
    def register(cls: Any) -> None:
        """Register configuration, model and feature extractor with transformers' `Auto` classes."""
        super().register()
        AutoModelForAudioTokenization.register(cls.config_class, cls, exist_ok=True)
        AutoFeatureExtractor.register(cls.config_class, WaveformVQVAEFeatureExtractor, exist_ok=True)
