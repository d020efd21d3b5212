from collections.abc import Collection, Mapping
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from hf_audio_vae.losses import KLControl, Schedule, check_names
from hf_audio_vae.training.autoencoder.augmentation import LatentAugmentation
from hf_audio_vae.training.autoencoder.options import (
    AdversarialOptions,
    BalancerOptions,
    LatentAugmentationOptions,
    LoraOptions,
    LossOptions,
)
from hf_audio_vae.training.autoencoder.steps import ADVERSARIAL_TERMS
from hf_audio_vae.training.config import TrainingConfig, replaced_by_pretrained
from hf_audio_vae.training.sections import Changeable
from hf_audio_vae.training.weights import AnnealedWeight, WeightOptions, build_weight


class AutoencoderTrainingConfig(TrainingConfig):
    """Options of a training run of an autoencoder."""

    family: str = Field("WaveformVAE", description="name of the model class in the registry")
    model: dict[str, Any] = Field(default_factory=dict, description="arguments of that class")
    pretrained_model_name_or_path: str | None = Field(None, description="fine-tune this model instead of a new one")
    pretrained_subfolder: str | None = Field(None, description="subfolder of the model, `vae` in a pipeline")
    pretrained_revision: str | None = None
    pretrained_arguments: dict[str, Any] = Field(
        default_factory=dict, description="arguments of that model that concern its training alone, to change"
    )

    lora: LoraOptions | None = Field(None, description="train low-rank updates instead of the weights")

    dataset_name: str = Field(description="Hub id, or a folder of audio, parquet or tar files")
    dataset_config_name: str | None = None
    data_files: str | list[str] | None = None
    audio_column: str | None = None

    held_out_share: float | None = Field(
        None, gt=0, lt=1, description="without own validation data: share of the items that only validations use"
    )
    validation_dataset_config_name: Changeable[str | None] = None
    validation_dataset_revision: Changeable[str | None] = None
    validation_data_files: str | list[str] | None = None
    validation_audio_column: Changeable[str | None] = None
    validation_seconds: Changeable[float] = Field(10.0, gt=0, description="seconds used of each validation item")
    num_validation_media: Changeable[int] = Field(4, ge=0, description="items logged as audio and image")
    min_active_share: Changeable[float] = Field(
        0.5, ge=0, le=1, description="warn below this share of active channels or used codes"
    )

    losses: LossOptions = LossOptions()
    weights: dict[str, WeightOptions] = Field(description="weight of each term; null removes one from the recipe")
    adversarial: AdversarialOptions | None = Field(None, description="train against discriminators")
    balancer: BalancerOptions | None = Field(
        None, description="treat weights as shares of the gradient with respect to the waveform"
    )
    latent_augmentation: LatentAugmentationOptions | None = Field(
        None, description="transform latents and targets alike, for a linear autoencoder"
    )
    torch_compile: Changeable[bool] = Field(False, description="compile encoder and decoder, as one graph each")
    decoder_only_from_step: int | None = Field(None, ge=0, description="freeze the encoder from this step on")

    @model_validator(mode="before")
    @classmethod
    def _validates_on_held_out_items(cls, values: object) -> object:
        """With `held_out_share`, options of validation data default to those of the training data."""
        if not isinstance(values, Mapping) or values.get("held_out_share") is None:
            return values
        names = [name for name in cls.model_fields if f"validation_{name}" in cls.model_fields and name in values]
        return {f"validation_{name}": values[name] for name in names} | dict(values)

    @field_validator("weights", mode="before")
    @classmethod
    def _without_null(cls, weights: object) -> object:
        if not isinstance(weights, Mapping):
            return weights
        return {name: weight for name, weight in weights.items() if weight is not None}

    @model_validator(mode="after")
    def _terms_have_weights(self) -> Self:
        terms = self._loss_names()
        terms |= set(ADVERSARIAL_TERMS) if self.adversarial else set()
        if missing := sorted(terms - self.weights.keys()):
            raise ValueError(f"the losses {missing} have no entry in `weights`; use a weight of 0 to disable a loss")
        if self.adversarial is None and (unused := sorted(self.weights.keys() & set(ADVERSARIAL_TERMS))):
            raise ValueError(
                f"`weights` has {unused}, but there is no section `adversarial`; add it, or remove these weights"
            )
        controlled = {name for name, w in self.weights.items() if not isinstance(w, float | AnnealedWeight)}
        if wrong := sorted(controlled - {"kl"}):
            raise ValueError(f"{wrong} cannot be controlled by rate, capacity or free bits; only `kl` can")
        return self

    @model_validator(mode="after")
    def _stages_begin(self) -> Self:
        """Refuse a stage of the training that the run does not reach."""
        self._check_begins("decoder_only_from_step", self.decoder_only_from_step, "the encoder is never frozen")
        if game := self.adversarial:
            self._check_begins("adversarial.start_step", game.start_step, "the discriminators are never used")
            self._check_begins(
                "adversarial.warmup_discriminator_steps",
                game.start_step + (game.warmup_discriminator_steps or 0),
                "the model never trains against the discriminators",
            )
        return self

    def _check_begins(self, option: str, step: int | None, consequence: str) -> None:
        if step is not None and step >= self.max_train_steps:
            raise ValueError(
                f"`{option}` defers to step {step}, but the run has {self.max_train_steps} steps, so that "
                f"{consequence}; lower it, or raise `max_train_steps`"
            )

    @model_validator(mode="after")
    def _holds_out_of_training_data(self) -> Self:
        if self.held_out_share is not None and not super().validates_on_training_data():
            raise ValueError(
                f"`held_out_share` holds out items of {self.dataset_name}, but the validation data is another, "
                f"{self.validation_dataset_name}; leave it out, or give both the same options"
            )
        return self

    def validation(self) -> dict[str, Any]:
        """Return the values that decide the figures of a validation."""
        return super().validation() | {"held_out_share": self.held_out_share}

    def validates_on_training_data(self) -> bool:
        """Whether the model is validated on items that it is trained on."""
        return self.held_out_share is None and super().validates_on_training_data()

    @model_validator(mode="after")
    def _mixes_two_items(self) -> Self:
        if self.latent_augmentation and self.latent_augmentation.mix is not None and self.train_batch_size == 1:
            raise ValueError(
                "`latent_augmentation.mix` adds the next item of the batch, and `train_batch_size` is 1, so that each "
                "item would be added to itself; give 2 or more, or leave out `mix`"
            )
        return self

    @model_validator(mode="after")
    def _adapts_pretrained(self) -> Self:
        if self.lora and self.pretrained_model_name_or_path is None:
            raise ValueError("`lora` adapts a pretrained model; give `pretrained_model_name_or_path`")
        return self

    @model_validator(mode="after")
    def _check_precision(self) -> Self:
        if self.mixed_precision == "fp16" and (self.adversarial or self.balancer):
            raise ValueError("fp16 supports one loss; with discriminators or a balancer use `mixed_precision: bf16`")
        return self

    def check_terms(
        self, reconstruction_terms: Collection[str], regulariser_terms: Collection[str], *, trains_on_waveforms: bool
    ) -> None:
        """Raise `ValueError` unless the losses are those that a model trains on, and the weights those of its terms.

        Args:
            reconstruction_terms (`Collection[str]`): The model's own reconstruction terms.
            regulariser_terms (`Collection[str]`): The model's own other terms.
            trains_on_waveforms (`bool`): The model trains on losses of waveforms, too, or on these only.
        """
        if reconstruction_terms:
            self._check_own_terms(reconstruction_terms, trains_on_waveforms=trains_on_waveforms)
        elif not self._loss_names():
            raise ValueError("`losses` is empty; give at least one reconstruction loss")
        needed = {*self._loss_names(), *reconstruction_terms, *(ADVERSARIAL_TERMS if self.adversarial else ())}
        regularisers = set(regulariser_terms)
        if self.decoder_only_from_step == 0:  # regularisers are left out, and their weights may be
            regularisers &= self.weights.keys()
        check_names(needed | regularisers, self.weights)

    def _check_own_terms(self, reconstruction_terms: Collection[str], *, trains_on_waveforms: bool) -> None:
        # The gradient of own terms passes around the waveform, and discriminators see what `forward` generates.
        sections: dict[str, object] = {"adversarial": self.adversarial, "balancer": self.balancer}
        sections |= {} if trains_on_waveforms else {"losses": self._loss_names()}
        if given := sorted(name for name, value in sections.items() if value):
            rest = " beside losses of waveforms" if trains_on_waveforms else ", not on waveforms"
            raise ValueError(
                f"the model trains on its own terms {sorted(reconstruction_terms)}{rest}; leave out "
                f"{', '.join(f'`{name}`' for name in given)}."
            )
        if missing := sorted(set(reconstruction_terms) - self.weights.keys()):
            raise ValueError(f"the model's own terms {missing} have no entry in `weights`; give each a weight.")

    def build_augmentation(self, hop_length: int, *, has_codes: bool) -> LatentAugmentation | None:
        """Return the augmentation of a model's latents; raises `ValueError` for a codec, which has none."""
        if self.latent_augmentation is None:
            return None
        if has_codes:
            raise ValueError("`latent_augmentation` transforms latents, and the model has codes; leave it out.")
        return self.latent_augmentation.build(hop_length)

    def _loss_names(self) -> set[str]:
        return {name for name, options in self.losses if options is not None}

    def ineffective_options(self) -> dict[str, str]:
        """Return options that have no effect in this recipe, each with the reason."""
        reasons = super().ineffective_options() | replaced_by_pretrained(self, "family", "model")
        if self.pretrained_model_name_or_path is None:
            reasons["pretrained_arguments"] = "without `pretrained_model_name_or_path`; use `model`"
        if self.adversarial:
            replaced = replaced_by_pretrained(self.adversarial, "discriminators", prefix="adversarial.")
            reasons |= {f"adversarial.{name}": reason for name, reason in replaced.items()}
        return reasons

    def build_weights(self, frame_rate: float) -> dict[str, float | Schedule | KLControl]:
        """Return the loss weights as numbers, schedules and controls for a model with this frame rate."""
        return {name: build_weight(options, frame_rate) for name, options in self.weights.items()}
