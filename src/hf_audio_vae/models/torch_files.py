"""Reader for files of `torch.save`, the checkpoints of other projects, that runs no code from them."""

import pickle
import struct
from pathlib import Path

import torch

from hf_audio_vae.files.regular import check_regular_file

# What `torch.load` raises for damaged files.
DAMAGED = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)


def read_torch_file(path: Path, *, remedy: str = "save only its tensors, numbers and names") -> dict[str, object]:
    """Read a file of `torch.save`.

    Args:
        path (`Path`): The file.
        remedy (`str`): Advice in the error for a file that needs pickled objects.

    Raises:
        ValueError: The file is damaged, or is not a dictionary of only tensors, numbers and names.
        OSError: There is no such file, or it is a folder, a pipe or a device.
    """
    check_regular_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise ValueError(
            f"{path} is damaged, or needs pickled objects, which can run any code; if you trust it, load it with "
            f"`weights_only=False` and {remedy}."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} instead of a dictionary; give a checkpoint.")
    return content
