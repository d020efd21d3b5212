"""Averages of an autoencoder in training, and of low-rank updates that train instead of its weights."""

import copy
from collections import Counter

from accelerate.logging import get_logger
from torch import nn

from hf_audio_vae.models import AutoencoderModel, BaseLocation, LoraAdapter
from hf_audio_vae.models.lora import is_adapter
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.options import LoraOptions
from hf_audio_vae.training.ema import EMA

logger = get_logger(__name__)


class ModelEMA(EMA[AutoencoderModel]):
    """The averaged model."""

    adapter: LoraAdapter | None = None

    def averaged_model(self) -> AutoencoderModel:
        """Return the averaged model."""
        return self.model


class AdapterEMA(EMA[LoraAdapter]):
    """The averaged adapter of a model in training, and the model before it.

    Args:
        model (`AutoencoderModel`): Pretrained model. It is adapted in place: its weights are frozen.
        adapter (`LoraAdapter`): New adapter of it.
        decay (`float`): As in `EMA`.
    """

    def __init__(self, model: AutoencoderModel, adapter: LoraAdapter, decay: float) -> None:
        super().__init__(adapter, decay)
        self._base = copy.deepcopy(model).eval().requires_grad_(False)
        self._trained = adapter
        adapter.attach(model)

    def load(self, saved: LoraAdapter) -> None:
        """Take the updates of a saved adapter. Raises `ValueError` if they are of a model with other weights."""
        if not saved.was_trained_on(self._base):
            base = self.model.base
            raise ValueError(
                f"the checkpoint adapts other weights than {base.name if base else 'the model'} has now; restore "
                f"them, or begin a new run."
            )
        super().load(saved)

    def update(self, model: nn.Module) -> None:
        """Update the average with the adapter of the model in training."""
        super().update(self._trained)

    @property
    def adapter(self) -> LoraAdapter:
        """The averaged adapter."""
        return self.model

    def averaged_model(self) -> AutoencoderModel:
        """Return a copy of the model before the training, with the averaged adapter merged into it."""
        merged = copy.deepcopy(self._base)
        self.model.merge_into(merged)
        return merged


def adapt(model: AutoencoderModel, options: LoraOptions, config: AutoencoderTrainingConfig) -> AdapterEMA:
    """Adapt a pretrained model in place, only its decoder if its encoder is frozen from the start.

    Returns:
        `AdapterEMA`: The averaged adapter.

    Raises:
        ValueError: No layer is adapted, the model is itself an adapter, or peft is not installed.
    """
    base = BaseLocation(
        str(config.pretrained_model_name_or_path), config.pretrained_subfolder, config.pretrained_revision
    )
    if is_adapter(base.name, subfolder=base.subfolder, revision=base.revision):
        raise ValueError(f"{base.name} is an adapter; merge it into its model first, with `hf-audio-vae merge`.")
    if config.decoder_only_from_step == 0:
        model.freeze_encoder()
    total = sum(parameter.numel() for parameter in model.parameters())
    adapter = LoraAdapter.new(model, base, **dict(options))
    layers = dict(model.published_module.named_modules())
    kinds = Counter(type(layers[name]).__name__.removeprefix("Parametrized") for name in adapter.names)
    trained = sum(parameter.numel() for parameter in adapter.parameters())
    logger.info(
        f"LoRA of rank {options.rank}: {len(adapter.names)} layers "
        f"({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}), {trained:,} parameters, "
        f"{trained / total:.1%} of the {total:,} of the model, which are frozen"
    )
    return AdapterEMA(model, adapter, config.ema_decay)
