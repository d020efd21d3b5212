"""The parts of a recipe, each with `build`: names in YAML on one side, objects on the other."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)
from torch import nn

from hf_audio_vae.audio.distance import STFT_WINDOW_LENGTHS
from hf_audio_vae.discriminators import DiscriminatorEnsemble, load_discriminators
from hf_audio_vae.losses import (
    AdversarialLoss,
    CapacityAnnealing,
    CosineAnnealing,
    CyclicalAnnealing,
    FreeBits,
    GradientBalancer,
    HingeLoss,
    KLControl,
    LeastSquaresLoss,
    LinearAnnealing,
    MultiResolutionSTFTLoss,
    MultiScaleMelLoss,
    Schedule,
    TargetRate,
    WaveformL1Loss,
    WaveformMSELoss,
)
from hf_audio_vae.losses.spectral import MEL_WINDOW_LENGTHS, N_MELS


def _not_true(value: object) -> object:
    """An option without a value means true, which is 1 to pydantic."""
    if isinstance(value, bool):
        raise ValueError("needs a number")
    return value


Number = Annotated[float, BeforeValidator(_not_true), Field(ge=0)]
Sizes = Annotated[tuple[Annotated[PositiveInt, BeforeValidator(_not_true)], ...], Field(min_length=1)]


class Section(BaseModel):
    """A part of a recipe: unknown keys are an error, and `1e-4`, which YAML takes for text, is the number it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_not_true(cls, value: object, info: ValidationInfo) -> object:
        wanted = cls.model_fields[str(info.field_name)].annotation
        return _not_true(value) if wanted in (int, float, int | None, float | None) else value


class NoOptions(Section):
    """A loss without options: write `{}`."""


class STFTLossOptions(Section):
    """Options of `MultiResolutionSTFTLoss`."""

    window_lengths: Sizes = STFT_WINDOW_LENGTHS
    mid_side: bool = False
    a_weighted: bool = False


class MelLossOptions(Section):
    """Options of `MultiScaleMelLoss`."""

    window_lengths: Sizes = MEL_WINDOW_LENGTHS
    n_mels: Sizes = N_MELS


class LossOptions(Section):
    """Which reconstruction losses to compute; each one named here needs a weight."""

    waveform_l1: NoOptions | None = None
    waveform_mse: NoOptions | None = None
    multi_resolution_stft: STFTLossOptions | None = None
    multi_scale_mel: MelLossOptions | None = None

    def build(self, sampling_rate: int) -> dict[str, nn.Module]:
        """Return the losses by name."""
        losses: dict[str, nn.Module] = {}
        if self.waveform_l1 is not None:
            losses["waveform_l1"] = WaveformL1Loss()
        if self.waveform_mse is not None:
            losses["waveform_mse"] = WaveformMSELoss()
        if (stft := self.multi_resolution_stft) is not None:
            losses["multi_resolution_stft"] = MultiResolutionSTFTLoss(sampling_rate=sampling_rate, **dict(stft))
        if (mel := self.multi_scale_mel) is not None:
            losses["multi_scale_mel"] = MultiScaleMelLoss(sampling_rate=sampling_rate, **dict(mel))
        return losses


class AnnealedWeight(Section):
    """A weight that rises from 0 to `weight` in `steps`; `cyclical` does so every `steps` anew."""

    schedule: Literal["linear", "cosine", "cyclical"]
    weight: Number
    steps: PositiveInt

    def build(self) -> Schedule:
        """Return the schedule this describes."""
        schedules: dict[str, Callable[[float, int], Schedule]] = {
            "linear": LinearAnnealing,
            "cosine": CosineAnnealing,
            "cyclical": CyclicalAnnealing,
        }
        return schedules[self.schedule](self.weight, self.steps)


class FreeBitsWeight(Section):
    """A weight for those latent channels alone that use more than `free_bits` a frame."""

    free_bits: float = Field(gt=0)
    weight: Number | AnnealedWeight

    def build(self) -> FreeBits:
        """Return the control this describes."""
        weight = self.weight.build() if isinstance(self.weight, AnnealedWeight) else self.weight
        return FreeBits(weight, bits=self.free_bits)


class CapacityWeight(Section):
    """A weight that holds the KL at a capacity, which rises from 0 to `capacity_nats` a frame in `steps`."""

    capacity_nats: float = Field(gt=0)
    steps: PositiveInt
    weight: Number

    def build(self) -> CapacityAnnealing:
        """Return the control this describes."""
        return CapacityAnnealing(self.weight, nats=self.capacity_nats, steps=self.steps)


class TargetRateWeight(Section):
    """A weight that starts at `weight` and is led to where the KL is `target_bits_per_second`."""

    target_bits_per_second: float = Field(gt=0)
    weight: float = Field(1e-4, gt=0)

    def build(self, frame_rate: float) -> TargetRate:
        """Return the control this describes, for a model of that many frames a second."""
        return TargetRate(self.target_bits_per_second, frame_rate=frame_rate, weight=self.weight)


def _kind(value: object) -> str:
    """Tell the kinds of weights apart by the key that only one of them has, so that errors speak of that one."""
    keys = set(value) if isinstance(value, Mapping) else getattr(value, "model_fields_set", set())
    named = [key for key in ("schedule", "free_bits", "capacity_nats", "target_bits_per_second") if key in keys]
    return named[0] if named else "number"


WeightOptions = Annotated[
    Annotated[Number, Tag("number")]
    | Annotated[AnnealedWeight, Tag("schedule")]
    | Annotated[FreeBitsWeight, Tag("free_bits")]
    | Annotated[CapacityWeight, Tag("capacity_nats")]
    | Annotated[TargetRateWeight, Tag("target_bits_per_second")],
    Discriminator(_kind),
]


def build_weight(options: WeightOptions, frame_rate: float) -> float | Schedule | KLControl:
    """Return the number, schedule or control that a recipe names."""
    if isinstance(options, TargetRateWeight):
        return options.build(frame_rate)
    return options if isinstance(options, float) else options.build()


class MultiPeriodOptions(Section):
    """Options of `MultiPeriodDiscriminator`."""

    hidden_channels: PositiveInt = 32
    periods: Sizes = (2, 3, 5, 7, 11)


class MultiResolutionOptions(Section):
    """Options of `MultiResolutionDiscriminator`."""

    hidden_channels: PositiveInt = 32
    window_lengths: Sizes = (2048, 1024, 512)
    band_edges: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75)


class MultiScaleSTFTOptions(Section):
    """Options of `MultiScaleSTFTDiscriminator`."""

    hidden_channels: PositiveInt = 32
    window_lengths: Sizes = (2048, 1024, 512, 256, 128)


class DiscriminatorOptions(Section):
    """Which discriminators judge; at least one."""

    multi_period: MultiPeriodOptions | None = None
    multi_resolution: MultiResolutionOptions | None = None
    multi_scale_stft: MultiScaleSTFTOptions | None = None

    def build(self, audio_channels: int) -> DiscriminatorEnsemble:
        """Return new discriminators."""
        kinds = {kind: dict(options) for kind, options in self if options is not None}
        return DiscriminatorEnsemble(audio_channels, **kinds)


class AdversarialOptions(Section):
    """Training against discriminators: new ones, or those beside a published model."""

    discriminators: DiscriminatorOptions = DiscriminatorOptions()
    pretrained_model_name_or_path: str | None = Field(
        None, description="continue the training of this model's discriminators"
    )
    pretrained_revision: str | None = None
    loss: Literal["hinge", "least_squares"] = "hinge"
    start_step: int = Field(0, ge=0, description="first step with discriminators")
    update_interval: int = Field(1, ge=1, description="steps between updates of the discriminators")
    learning_rate: float = Field(1e-4, gt=0)

    @model_validator(mode="after")
    def _somebody_judges(self) -> Self:
        if self.pretrained_model_name_or_path is None and all(options is None for _, options in self.discriminators):
            raise ValueError("`discriminators` is empty; name multi_period, multi_resolution or multi_scale_stft")
        return self

    def build_loss(self) -> AdversarialLoss:
        """Return what the two players minimise."""
        return HingeLoss() if self.loss == "hinge" else LeastSquaresLoss()

    def build_discriminators(self, audio_channels: int) -> DiscriminatorEnsemble:
        """Return new discriminators, or those of `pretrained_model_name_or_path`, whatever `discriminators` says."""
        if self.pretrained_model_name_or_path is None:
            return self.discriminators.build(audio_channels)
        return load_discriminators(self.pretrained_model_name_or_path, self.pretrained_revision)


class BalancerOptions(Section):
    """Options of `GradientBalancer`."""

    decay: float = Field(0.999, ge=0, lt=1)
    total_norm: float = Field(1.0, gt=0)

    def build(self) -> GradientBalancer:
        """Return a new balancer."""
        return GradientBalancer(decay=self.decay, total_norm=self.total_norm)
