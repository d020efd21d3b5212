"""Sections of a recipe, created from constructor signatures: argument names, types and defaults."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from huggingface_hub.errors import StrictDataclassError
from pydantic import (
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


def _reject_true(value: object) -> object:
    """Reject true: it is an option without a value, and pydantic reads it as 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Number = Annotated[float, BeforeValidator(_reject_true), Field(ge=0)]
Size = Annotated[PositiveInt, BeforeValidator(_reject_true)]
Sizes = Annotated[tuple[Size, ...], Field(min_length=1)]
# Sizes of a constructor are positive and weights not negative. Annotations do not express that.
STRICTER: dict[Any, Any] = {int: Size, float: Number, tuple[int, ...]: Sizes}


class MayChange:
    """Marks a field that may change on resume: paths, durations, validation and logging."""


Changeable = Annotated[T, MayChange]


class Section(BaseModel):
    """A section of a recipe. Unknown keys are errors. `1e-4`, which YAML reads as text, is parsed as a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_empty_text(cls, value: object) -> object:
        if value == "":  # as a path, it would be the working directory
            raise ValueError("is empty; give a value")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _reject_true_for_numbers(cls, value: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[str(info.field_name)].annotation
        return _reject_true(value) if annotation in (int, float, int | None, float | None) else value


def section_of(constructor: Callable[..., object], *, given: Collection[str] = ()) -> type[Section]:
    """Create a section with the arguments of a constructor as options.

    Args:
        constructor (`Callable`): A class, or a function that returns an object.
        given (`Collection[str]`): Arguments that are no options of the recipe.

    Example:
        >>> class Filter:
        ...     def __init__(self, channels: int, window_lengths: tuple[int, ...] = (64, 32)) -> None: ...
        >>> section_of(Filter, given=("channels",))(window_lengths=[16])
        FilterOptions(window_lengths=(16,))
    """
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(constructor, eval_str=True).parameters.items():
        variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if name not in given and not variadic:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[name] = (STRICTER.get(parameter.annotation, parameter.annotation), default)
    return create_model(f"{constructor.__name__}Options", __base__=Section, **fields)


def sections_of(constructors: Mapping[str, Callable[..., object]], *, given: Collection[str] = ()) -> type[Section]:
    """Create a section with an optional subsection for each constructor. Omitted subsections are not built."""
    fields: dict[str, Any] = {name: (section_of(new, given=given) | None, None) for name, new in constructors.items()}
    return create_model("Sections", __base__=Section, **fields)


def one_of(names: Collection[str]) -> BeforeValidator:
    """Return a validator that rejects values outside `names`."""

    def check(value: object) -> object:
        if not isinstance(value, str) or value not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return value

    return BeforeValidator(check)


@contextmanager
def options_of(name: str, options: Mapping[str, object]) -> Iterator[None]:
    """Turn every error of a constructor of another library into a `ValueError` that shows its options."""
    try:
        yield
    except (
        TypeError,
        ValueError,
        ArithmeticError,
        LookupError,
        RuntimeError,
        AssertionError,
        StrictDataclassError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"a {name} with {dict(options)} cannot be built: {reason}") from error


def takes(constructor: Callable[..., object], name: str) -> bool:
    """Whether a constructor has an argument of this name."""
    return name in inspect.signature(constructor).parameters
