"""Sections of a recipe, each with `build`. Their options are the arguments of the built objects."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from torch import nn

from hf_audio_vae.discriminators import DISCRIMINATORS, DiscriminatorEnsemble, load_discriminators
from hf_audio_vae.losses import (
    ADVERSARIAL_LOSSES,
    RECONSTRUCTION_LOSSES,
    AdversarialLoss,
    GradientBalancer,
)
from hf_audio_vae.training.autoencoder.augmentation import AUGMENTATIONS, LatentAugmentation, RandomTransformation
from hf_audio_vae.training.autoencoder.objective import AdversarialSchedule
from hf_audio_vae.training.sections import Section, Size, one_of, section_of, sections_of, takes

_Losses: Any = sections_of(RECONSTRUCTION_LOSSES, given=("sampling_rate",))
_Discriminators: Any = sections_of(DISCRIMINATORS, given=("audio_channels",))
_Balancer: Any = section_of(GradientBalancer)
_Augmentations: Any = sections_of(AUGMENTATIONS, given=("hop_length",))


class LossOptions(_Losses):
    """Reconstruction losses to compute; each needs a weight."""

    def build(self, sampling_rate: int) -> dict[str, nn.Module]:
        """Return the losses by name."""
        losses: dict[str, nn.Module] = {}
        for name, options in self:
            if options is not None:
                new = RECONSTRUCTION_LOSSES[name]
                rate = {"sampling_rate": sampling_rate} if takes(new, "sampling_rate") else {}
                losses[name] = new(**dict(options), **rate)
        return losses


class DiscriminatorOptions(_Discriminators):
    """Discriminators to train against; at least one."""

    def build(self, audio_channels: int) -> DiscriminatorEnsemble:
        """Return new discriminators."""
        kinds = {kind: dict(options) for kind, options in self if options is not None}
        return DiscriminatorEnsemble(audio_channels, **kinds)


class AdversarialOptions(Section):
    """Training against new discriminators, or those of a published model."""

    discriminators: DiscriminatorOptions = DiscriminatorOptions()
    pretrained_model_name_or_path: str | None = Field(
        None, description="continue the training of this model's discriminators"
    )
    pretrained_revision: str | None = None
    loss: Annotated[str, one_of(ADVERSARIAL_LOSSES)] = "hinge"
    start_step: int = Field(0, ge=0, description="first step with discriminators")
    warmup_discriminator_steps: int | None = Field(
        None, ge=1, description="first steps of the discriminators, in which only they train and the model is frozen"
    )
    update_interval: int = Field(1, ge=1, description="steps between updates of the discriminators")
    learning_rate: float = Field(1e-4, gt=0)

    @model_validator(mode="after")
    def _check_discriminators(self) -> Self:
        if self.pretrained_model_name_or_path is None and all(options is None for _, options in self.discriminators):
            raise ValueError(f"`discriminators` is empty; give at least one of {', '.join(DISCRIMINATORS)}")
        return self

    def build_loss(self) -> AdversarialLoss:
        """Return the loss of generator and discriminator."""
        return ADVERSARIAL_LOSSES[self.loss]()

    def build_schedule(self) -> AdversarialSchedule:
        """Return the steps in which the discriminators judge and train."""
        return AdversarialSchedule(self.start_step, self.warmup_discriminator_steps or 0, self.update_interval)

    def build_discriminators(self, audio_channels: int) -> DiscriminatorEnsemble:
        """Return new discriminators, or those of `pretrained_model_name_or_path` instead of `discriminators`."""
        if self.pretrained_model_name_or_path is None:
            return self.discriminators.build(audio_channels)
        return load_discriminators(self.pretrained_model_name_or_path, self.pretrained_revision)


class LoraOptions(Section):
    """Low-rank updates (LoRA) that train instead of the weights of a pretrained model."""

    rank: Size = Field(description="rank of the update of each layer")
    alpha: Size | None = Field(None, description="updates are scaled by alpha / rank; rank if not given")
    target_modules: list[str] | str | None = Field(
        None, description="ends of names of layers, or a regular expression; default all layers that shrink by it"
    )


class BalancerOptions(_Balancer):
    """Options of `GradientBalancer`."""

    @model_validator(mode="after")
    def _is_accepted(self) -> Self:
        self.build()  # raises what the constructor refuses
        return self

    def build(self) -> GradientBalancer:
        """Return a new balancer."""
        return GradientBalancer(**dict(self))


class LatentAugmentationOptions(_Augmentations):
    """Random transformations of latents and targets; at least one."""

    @model_validator(mode="after")
    def _is_accepted(self) -> Self:
        self.build(1)  # raises what the constructors refuse
        return self

    def build(self, hop_length: int) -> LatentAugmentation:
        """Return the augmentation for a model with this hop."""
        parts: list[RandomTransformation] = []
        for name, new in AUGMENTATIONS.items():
            if (options := getattr(self, name)) is not None:
                hop = {"hop_length": hop_length} if takes(new, "hop_length") else {}
                parts.append(new(**dict(options), **hop))
        if not parts:
            raise ValueError(f"`latent_augmentation` is empty; give at least one of {', '.join(AUGMENTATIONS)}")
        return LatentAugmentation(parts)
