"""Numbers and tensors among the arguments of a pipeline: NumPy's are taken, text and bools are not."""

import math
import operator
from collections.abc import Mapping
from numbers import Real

import numpy as np
import torch
from torch import Tensor


def integer(value: object) -> int | None:
    """Return an integer of Python, NumPy or torch as an `int`; `None` for anything else, bools and floats included."""
    if isinstance(value, bool | np.bool_) or (isinstance(value, Tensor) and value.dtype == torch.bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def count(name: str, value: object, *, most: int | None = None) -> int:
    """Return a number of things; raise `ValueError` unless it is an integer of 1 or more, and at most `most`."""
    number = integer(value)
    if most is not None and number is not None and number > most:
        raise ValueError(f"`{name}` is {number}; give at most {most}.")
    if number is None or number < 1:
        raise ValueError(f"`{name}` is {value!r}; it must be 1 or more, and an integer.")
    return number


def finite(name: str, value: object) -> float:
    """Return a real number as a `float`; raise `ValueError` unless it is a finite one."""
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    if not math.isfinite(number):
        raise ValueError(f"`{name}` is {value!r}; it must be a finite number.")
    return number


def share(value: float, steps: int) -> int:
    """Return the number of `steps` that make up a share of them, rounded up; at least 1.

    The product is rounded first: 0.07 * 100 is more than 7 in floating point.
    """
    return max(math.ceil(round(value * steps, 6)), 1)


def float_tensor(name: str, values: Tensor | np.ndarray | None) -> Tensor | None:
    """Return a tensor or an array as a tensor; raise `ValueError` for other types, or an array without floats."""
    if values is None or isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.floating):
        kind = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise ValueError(f"`{name}` is {kind}; give a tensor or an array of floats.")
    return torch.from_numpy(values)


def replaced_latents(latents: Tensor, given: object) -> Tensor:
    """Return the latents that a callback gives, or the present ones if it gives none."""
    if not isinstance(given, Mapping):
        raise ValueError(f"`callback_on_step_end` returned a {type(given).__name__}; return a dictionary, or `{{}}`.")
    new = given.get("latents", latents)
    if not isinstance(new, Tensor) or new.shape != latents.shape or not new.is_floating_point():
        shape = f"of shape {tuple(new.shape)}" if isinstance(new, Tensor) else f"that are a {type(new).__name__}"
        raise ValueError(
            f"`callback_on_step_end` returned latents {shape}; return floats of shape {tuple(latents.shape)}."
        )
    return new.to(latents)
