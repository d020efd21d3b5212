"""Safetensors files with a checksum of all tensors and of the other metadata."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_audio_vae.files import check_regular_file, replacing

CHECKSUM = "sha256"  # key of the metadata


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata with their checksum, whole or not at all."""
    stored = {name: values.contiguous().cpu() for name, values in tensors.items()}
    with replacing(path) as file:
        save_file(stored, str(file), {**metadata, CHECKSUM: checksum(stored, metadata)})


def checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 of all tensors and of the other metadata."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.contiguous().view(-1).view(torch.uint8).numpy().data if values.numel() else b"")
    return digest.hexdigest()


@contextmanager
def opened(path: str | Path, content: str) -> Iterator[safe_open]:
    """Open a file; raises `ValueError`, which says that it should hold `content`, or `OSError`."""
    check_regular_file(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file of {content}: {error}") from error


def read_tensors(file: safe_open) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of an opened file."""
    return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def load_tensors(path: str | Path, kind: str, content: str, remedy: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of `save_tensors` whose metadata have this `format`; return tensors and metadata.

    Args:
        path (`str` or `Path`): The file.
        kind (`str`): Its format.
        content (`str`): What it holds, in words.
        remedy (`str`): What to do about another or a damaged file.

    Raises:
        ValueError: The file has another format, or is damaged.
        OSError: The file cannot be opened.
    """
    with opened(path, content) as file:
        tensors, metadata = read_tensors(file)
    if metadata.get("format") != kind:
        raise ValueError(f"{path} has format {metadata.get('format')!r}, not {kind!r}; {remedy}.")
    if metadata.pop(CHECKSUM, None) != checksum(tensors, metadata):
        raise ValueError(f"{path} is damaged: its content does not have the checksum that was saved; {remedy}.")
    return tensors, metadata
