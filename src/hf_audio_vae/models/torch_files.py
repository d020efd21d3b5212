"""Reader for files of `torch.save`, the checkpoints of other projects, that runs no code from them."""

import pickle
from pathlib import Path

import torch


def read_torch_file(path: Path, *, remedy: str = "save only its tensors, numbers and names") -> dict[str, object]:
    """Read a file of `torch.save`.

    Args:
        path (`Path`): The file.
        remedy (`str`): Advice in the error for a file that needs pickled objects.

    Raises:
        ValueError: The file is damaged, or is not a dictionary of only tensors, numbers and names.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, LookupError, RuntimeError) as error:
        raise ValueError(
            f"{path} is damaged, or needs pickled objects, which can run any code; if you trust it, load it with "
            f"`weights_only=False` and {remedy}."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} instead of a dictionary; give a checkpoint.")
    return content
