"""Checks of the weights of a model, and of the files that hold them."""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from hf_audio_vae.files.regular import check_regular_file

NAMED = 3  # weights that an error names

Shapes = dict[str, tuple[tuple[int, ...], bool]]  # shape of each weight, and whether its values are floats


def check_keys(
    name: str, model_class: type, *, missing: Iterable[str], unknown: Iterable[str], different: Iterable[str]
) -> None:
    """Raise `ValueError` if weights of a saved model are missing, unknown or different from its configuration."""
    problems = {"missing": sorted(missing), "unknown": sorted(unknown), "different": sorted(different)}
    if listed := [f"{len(keys)} {kind}: {first_names(keys)}" for kind, keys in problems.items() if keys]:
        raise ValueError(
            f"the weights in {name} are not those of the {model_class.__name__} that its `config.json` describes, "
            f"{'; '.join(listed)}. Use an intact copy, or the `config.json` of these weights."
        )


def check_finite_weights(name: str, model: nn.Module) -> None:
    """Raise `ValueError` if a weight or buffer of a model has a value that is NaN or infinite."""
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not value.is_meta and not bool(torch.isfinite(value).all()):
            raise ValueError(
                f"{name}: its weight `{key}` has NaN or infinite values; use an intact copy or an earlier checkpoint."
            )


def read_shapes(path: Path) -> Shapes:
    """Read the shapes of weights from the header of a safetensors file.

    Raises:
        ValueError: The file is damaged.
        OSError: The file cannot be read.
    """
    check_regular_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            return {  # dtypes are named F32, BF16
                key: (tuple(values.get_shape()), values.get_dtype()[0] in "FB") for key, values in slices.items()
            }
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a safetensors file ({error}); use an intact copy.") from error


def first_names(names: Iterable[object]) -> str:
    """Join the first names with commas."""
    texts = [str(name) for name in names]
    return ", ".join(texts[:NAMED]) + (", ..." if len(texts) > NAMED else "")


def on_one_line(error: Exception) -> str:
    """Return the message of an error without line breaks."""
    return " ".join(str(error).split())
