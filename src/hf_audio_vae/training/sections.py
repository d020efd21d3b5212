"""Sections of a recipe, made from the signatures of what they build: an argument's name, type and default."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationInfo,
    create_model,
    field_validator,
)

T = TypeVar("T")


def _not_true(value: object) -> object:
    """An option without a value means true, which is 1 to pydantic."""
    if isinstance(value, bool):
        raise ValueError("needs a number")
    return value


Number = Annotated[float, BeforeValidator(_not_true), Field(ge=0)]
Size = Annotated[PositiveInt, BeforeValidator(_not_true)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1)]
# Sizes and weights of a constructor are positive, which its annotations do not say.
STRICTER: dict[Any, Any] = {int: Size, float: Number, tuple[int, ...]: Sizes}


class MayChange:
    """Marks a field that a resume may set anew: where and how long, and all that only watches."""


Changeable = Annotated[T, MayChange]


class Section(BaseModel):
    """A part of a recipe: unknown keys are an error, and `1e-4`, which YAML takes for text, is the number it means."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_are_not_true(cls, value: object, info: ValidationInfo) -> object:
        wanted = cls.model_fields[str(info.field_name)].annotation
        return _not_true(value) if wanted in (int, float, int | None, float | None) else value


def section_of(constructor: Callable[..., object], *, given: Collection[str] = ()) -> type[Section]:
    """Make a section whose options are the arguments of a constructor.

    Args:
        constructor (`Callable`): A class, or a function that makes an object.
        given (`Collection[str]`): Arguments that the recipe does not name.

    Example:
        >>> def new_filter(channels: int, window_lengths: tuple[int, ...] = (64, 32)) -> None: ...
        >>> section_of(new_filter, given=("channels",))(window_lengths=[16])
        new_filter_options(window_lengths=(16,))
    """
    called: Any = constructor.__init__ if inspect.isclass(constructor) else constructor  # type: ignore[misc]
    hints = get_type_hints(called)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if name not in given and not several:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (STRICTER.get(hints[name], hints[name]), default)
    return create_model(f"{constructor.__name__}_options", __base__=Section, **fields)


def sections_of(constructors: Mapping[str, Callable[..., object]], *, given: Collection[str] = ()) -> type[Section]:
    """Make a section with an optional section of options for each constructor; one that is left out is not built."""
    fields: dict[str, Any] = {name: (section_of(new, given=given) | None, None) for name, new in constructors.items()}
    return create_model("Sections", __base__=Section, **fields)


def one_of(names: Collection[str]) -> AfterValidator:
    """Return what refuses a value that is none of these."""

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"is none of {', '.join(names)}")
        return value

    return AfterValidator(check)


def takes(constructor: Callable[..., object], name: str) -> bool:
    """Whether a constructor has an argument of this name."""
    return name in inspect.signature(constructor).parameters
