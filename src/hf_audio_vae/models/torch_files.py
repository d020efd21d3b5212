"""Files of `torch.save`, as other projects publish their checkpoints, read without running what is in them."""

import pickle
from pathlib import Path

import torch


def read_torch_file(
    path: Path, *, remedy: str = "save no more than its tensors, numbers and names"
) -> dict[str, object]:
    """Read a file of `torch.save`.

    Args:
        path (`Path`): The file.
        remedy (`str`): What to do with the content of one that needs pickled objects, for the error.

    Raises:
        ValueError: It is damaged, or no dictionary of no more than tensors, numbers and names.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, LookupError, RuntimeError) as error:
        raise ValueError(
            f"{path} is damaged, or needs pickled objects, which can run any code; if you trust it, load it with "
            f"`weights_only=False` and {remedy}."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} and no dictionary; give a checkpoint.")
    return content
