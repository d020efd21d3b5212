"""Items that are held out of training, chosen by their names: alike in each order, epoch, process and worker."""

import zlib
from functools import partial
from pathlib import Path
from typing import Any

import datasets

from hf_audio_vae.data.clips import item_name


def split_held_out(
    stream: datasets.IterableDataset, share: float, dataset_name: str
) -> tuple[datasets.IterableDataset, datasets.IterableDataset]:
    """Split a stream by the checksums of the names of its items.

    An item that is added later moves no other item, except in a folder of so few files that the share holds out none:
    then a new file may take the place of the one that is held out.

    Args:
        stream (`datasets.IterableDataset`): From `load_audio_stream`.
        share (`float`): Share of the names that is held out, in (0, 1). Of a folder of audio, at least one file is.
        dataset_name (`str`): Name of the data set. Names of files count from this folder, so it may be moved.

    Returns:
        The items to train on, and those that are held out.

    Raises:
        ValueError: A folder has fewer than two files.
    """
    root = f"{Path(dataset_name).expanduser().resolve()}/"
    threshold = _threshold(stream, share, root)
    kept, held_out = (partial(_is_chosen, root=root, threshold=threshold, below=below) for below in (False, True))
    return stream.filter(kept), stream.filter(held_out)


def _threshold(stream: datasets.IterableDataset, share: float, root: str) -> float:
    """Return the checksum below which items are held out.

    It is the share. If the items are files, whose names are known without reading them, it is moved so that at least
    one is held out and at least one is not.
    """
    checksums: set[float] = set()
    for example in stream:
        item = example["audio"]
        if item is not None and item["bytes"] is not None:
            return share
        checksums.add(_checksum(example, root))
    if len(checksums) < 2:
        raise ValueError(
            f"{root} has one file, so none can be held out; give `validation_dataset_name`, or cut the file into "
            f"several."
        )
    first, second, *_ = sorted(checksums)
    return min(max(share, (first + second) / 2), max(checksums))


def _checksum(example: dict[str, Any], root: str) -> float:
    """Return a number in [0, 1) that depends on the name of an item."""
    return zlib.crc32(item_name(example["audio"]).removeprefix(root).encode()) / 2**32


def _is_chosen(example: dict[str, Any], *, root: str, threshold: float, below: bool) -> bool:
    return (_checksum(example, root) < threshold) == below
