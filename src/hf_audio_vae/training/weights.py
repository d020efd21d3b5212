"""Sections of a recipe for the weight of a loss term: a number, a schedule, or a control of the KL."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, PositiveInt, Tag

from hf_audio_vae.losses import (
    SCHEDULES,
    CapacityAnnealing,
    DelayedSchedule,
    FreeBits,
    KLControl,
    Schedule,
    TargetRate,
)
from hf_audio_vae.training.sections import Number, Section, one_of

NUMBER = "number"  # the kind of a weight without a distinguishing key


class AnnealedWeight(Section):
    """A weight that rises from 0 to `weight` in `steps` after `start_step`; `cyclical` repeats this every `steps`."""

    schedule: Annotated[str, one_of(SCHEDULES)]
    weight: Number
    steps: PositiveInt
    start_step: int | None = Field(None, ge=0, description="first step with a weight")

    def build(self) -> Schedule:
        """Return the schedule."""
        schedule = SCHEDULES[self.schedule](self.weight, self.steps)
        return DelayedSchedule(schedule, self.start_step) if self.start_step else schedule


class FreeBitsWeight(Section):
    """A weight for the latent channels that use more than `free_bits` per frame."""

    free_bits: float = Field(gt=0)
    weight: Number | AnnealedWeight

    def build(self) -> FreeBits:
        """Return the control."""
        weight = self.weight.build() if isinstance(self.weight, AnnealedWeight) else self.weight
        return FreeBits(weight, bits=self.free_bits)


class CapacityWeight(Section):
    """A weight that holds the KL at a capacity, which rises from 0 to `capacity_nats` per frame in `steps`."""

    capacity_nats: float = Field(gt=0)
    steps: PositiveInt
    weight: Number

    def build(self) -> CapacityAnnealing:
        """Return the control."""
        return CapacityAnnealing(self.weight, nats=self.capacity_nats, steps=self.steps)


class TargetRateWeight(Section):
    """A weight that starts at `weight` and is adapted until the KL is `target_bits_per_second`."""

    target_bits_per_second: float = Field(gt=0)
    weight: float = Field(1e-4, gt=0)

    def build(self, frame_rate: float) -> TargetRate:
        """Return the control for a model with this frame rate."""
        return TargetRate(self.target_bits_per_second, frame_rate=frame_rate, weight=self.weight)


def _kind(value: object) -> str:
    """Return the kind of a weight by its distinguishing key, so that errors are about that kind only."""
    keys = set(value) if isinstance(value, Mapping) else getattr(value, "model_fields_set", set())
    named = [key for key in ("schedule", "free_bits", "capacity_nats", "target_bits_per_second") if key in keys]
    return named[0] if named else NUMBER


def _number_or_form(value: object) -> object:
    """Reject what is no number; its remedy may be a form with keys, which pydantic does not name."""
    try:
        return value if isinstance(value, int | float) else float(str(value))
    except ValueError:
        forms = (AnnealedWeight, FreeBitsWeight, CapacityWeight, TargetRateWeight)
        keys = [[name for name, field in form.model_fields.items() if field.is_required()] for form in forms]
        listed = ", ".join(f"{{{', '.join(names)}}}" for names in keys)
        raise ValueError(f"must be a number, or have the keys of one of the forms {listed}") from None


WeightOptions = Annotated[
    Annotated[Number, BeforeValidator(_number_or_form), Tag(NUMBER)]
    | Annotated[AnnealedWeight, Tag("schedule")]
    | Annotated[FreeBitsWeight, Tag("free_bits")]
    | Annotated[CapacityWeight, Tag("capacity_nats")]
    | Annotated[TargetRateWeight, Tag("target_bits_per_second")],
    Discriminator(_kind),
]


def build_weight(options: WeightOptions, frame_rate: float) -> float | Schedule | KLControl:
    """Return the number, schedule or control of a recipe."""
    if isinstance(options, TargetRateWeight):
        return options.build(frame_rate)
    return options if isinstance(options, float) else options.build()
