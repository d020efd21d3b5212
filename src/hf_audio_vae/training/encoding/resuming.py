"""Comparison of an encoded data set with its source, which may have changed since.

The footer of a file names its source items, with checksums. A file is set aside if the source has other items at its
position. The rows of sounds that the source still has are reused, whichever file they belong to now. The result equals
a new encoding of the source, and the model only runs on new and changed sounds.
"""

import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
from datasets.fingerprint import Hasher

from hf_audio_vae.audio.io import open_binary
from hf_audio_vae.data.clips import EncodedItem, as_utf8, is_url, item_name
from hf_audio_vae.data.encoded_files import check_file, data_files, has_columns, read_footer
from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.training.encoding.tallies import Item, Tally

PREVIOUS = ".previous"  # files that are set aside until the data set is complete
NAMED = 5  # items that a message names

logger = logging.getLogger(__name__)


def identify(example: Mapping[str, Any], root: str) -> Item:
    """Return the identity of an item.

    Args:
        example (`Mapping`): Item with its column `"audio"`, `{"bytes", "path"}` or `None`. Audio behind a URL is not
            read for its checksum; URLs of the Hub name the commit. A file that cannot be read has that of no audio.
        root (`str`): Name of the data set; for a folder, the item's name is relative to it.
    """
    audio = example["audio"] or EncodedItem(bytes=None, path=None)
    path = audio["path"]
    others = {name: value for name, value in example.items() if name != "audio"}
    columns = json.dumps(others, default=Hasher.hash, sort_keys=True)
    name = item_name(audio)
    if path is not None and Path(root).is_dir():
        with suppress(ValueError):  # a list may name files elsewhere
            name = as_utf8(Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix())
    return Item(name, _checksum(audio), hashlib.sha256(columns.encode()).hexdigest())


def _checksum(audio: EncodedItem) -> str:
    content, path, digest = audio["bytes"], audio["path"], hashlib.sha256()
    if content is None and (path is None or is_url(path)):
        return digest.hexdigest()
    try:
        with open_binary(path or "" if content is None else content) as file:
            for block in iter(partial(file.read, 1 << 20), b""):
                digest.update(block)
    except OSError:
        return hashlib.sha256().hexdigest()
    return digest.hexdigest()


def shard_name(shard: int) -> str:
    """Return the start of the names of a shard's files; `datasets` derives the split from it."""
    return f"train-{shard:05d}"


def shard_files(
    source: datasets.IterableDataset, shard: int, items_per_file: int
) -> Iterator[tuple[str, Iterator[Mapping[str, Any]]]]:
    """Yield the name of each file of a shard with its items, some of which may be left unread."""
    examples = iter(source.shard(source.num_shards, shard) if source.num_shards > 1 else source)
    number = 0
    while (first := next(examples, None)) is not None:
        items = _first_and_next(first, examples, items_per_file)
        yield f"{shard_name(shard)}-{number:06d}.parquet", items
        for _ in items:
            pass
        number += 1


def set_aside(
    source: datasets.IterableDataset,
    folder: Path,
    record: EncodingRecord,
    features: datasets.Features,
    *,
    moved: bool = False,
) -> None:
    """Move the files that no longer match the source into `.previous`, and delete damaged files.

    The source is read as far as there are files.

    Args:
        source (`datasets.IterableDataset`): From `load_audio_stream(..., keep_columns=True)`.
        folder (`Path`): Folder of the encoded data set. No other process may write into it.
        record (`EncodingRecord`): Settings of the encoding.
        features (`datasets.Features`): Columns of its files.
        moved (`bool`): Whether the source has another name than before.

    Raises:
        ValueError: A file does not record its source items, or a source with another name has other items.
    """
    for hidden in folder.glob("data/.*"):  # of a process that was killed
        hidden.unlink()
    _whole_files((folder / PREVIOUS).glob("*.parquet"))
    existing = _whole_files(data_files(folder))
    current = _current_items(source, [path.name for path in existing], record)
    stale = [
        path
        for path, tally in existing.items()
        if _items(tally) != current.get(path.name) or not has_columns(path, features, list(features))
    ]
    if moved:
        known = {item.name for tally in existing.values() for item in _items(tally)}
        if known and known.isdisjoint(item.name for items in current.values() for item in items):
            raise ValueError(
                f"{folder} holds {record.noun} of other items than {record.source.get('dataset_name')}, such as "
                f"{_some(known)}; choose another `--output_dir`."
            )
    logger.info("resuming in %s: %d files are complete", folder, len(existing) - len(stale))
    if stale:
        names = _some(path.name for path in stale)
        logger.warning("the source has changed, so %d files are written again: %s", len(stale), names)
        (folder / PREVIOUS).mkdir(exist_ok=True)
    for path in stale:
        os.replace(path, folder / PREVIOUS / f"{secrets.token_hex(8)}.parquet")


def drop_previous(folder: Path, total: Tally) -> None:
    """Delete the files that are set aside, and log which of their items are gone or changed."""
    current = {item.name: item.audio for item in _items(total)}
    tallies = _tallies(folder / PREVIOUS).values()
    previous = {item.name: item.audio for tally in tallies for item in _items(tally)}
    gone = previous.keys() - current.keys()
    changed = {name for name in previous.keys() & current.keys() if previous[name] != current[name]}
    if gone:
        logger.warning("%d items are gone from the source and from the data set: %s", len(gone), _some(gone))
    if changed:
        logger.warning("%d items have changed and are encoded again: %s", len(changed), _some(changed))
    shutil.rmtree(folder / PREVIOUS, ignore_errors=True)


class PreviousRows:
    """Rows of files that are set aside, by the sound that they were made of.

    Args:
        folder (`Path`): Folder of the encoded data set.
        features (`datasets.Features`): Columns of its files.
        columns (`Sequence[str]`): Columns that depend on the sound only.
    """

    def __init__(self, folder: Path, features: datasets.Features, columns: Sequence[str]) -> None:
        self.columns = list(columns)
        self._places: dict[tuple[str, str], tuple[Path, int, int]] = {}  # file, first row, number of rows
        for path, tally in _tallies(folder / PREVIOUS).items():
            first = 0
            for item, rows in tally.made_of if has_columns(path, features, self.columns) else ():
                if item.name not in tally.skipped:
                    self._places[item.name, item.audio] = path, first, rows
                first += rows

    def __contains__(self, item: Item) -> bool:
        return (item.name, item.audio) in self._places

    def read(self, item: Item) -> Iterator[dict[str, Any]]:
        """Yield the rows of an item, one at a time; arrays are numpy's."""
        path, first, count = self._places[item.name, item.audio]
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for index in range(first, first + count):  # each row is its own row group
                row = datasets.Dataset(file.read_row_group(index, self.columns)).with_format("numpy")[0]
                yield {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in row.items()}


def _whole_files(paths: Iterable[Path]) -> dict[Path, Tally]:
    """Return the tallies of the files that are whole; delete the others."""
    tallies = {}
    for path in paths:
        try:
            tally = Tally.from_json(read_footer(path))
            check_file(path)
        except ValueError as error:
            logger.warning("%s", error)
            path.unlink()
            continue
        if not tally.made_of:
            raise ValueError(
                f"{path} was written by version 0.1, which did not record its items, so it cannot be compared with "
                f"the source; encode into another `--output_dir`."
            )
        tallies[path] = tally
    return tallies


def _current_items(
    source: datasets.IterableDataset, names: Iterable[str], record: EncodingRecord
) -> dict[str, list[Item]]:
    """Return the items of the source by the name of their file, in each shard up to the last of `names`."""
    last_names: dict[str, str] = {}
    for name in sorted(names):
        last_names[name.rpartition("-")[0]] = name
    current: dict[str, list[Item]] = {}
    for shard in range(source.num_shards):
        last = last_names.get(shard_name(shard), "")
        for name, examples in shard_files(source, shard, record.items_per_file) if last else ():
            current[name] = [identify(example, record.source.get("dataset_name", "")) for example in examples]
            if name == last:
                break
    return current


def _items(tally: Tally) -> list[Item]:
    return [item for item, _ in tally.made_of]


def _tallies(folder: Path) -> dict[Path, Tally]:
    return {path: Tally.from_json(read_footer(path)) for path in sorted(folder.glob("*.parquet"))}


def _first_and_next(first: Any, rest: Iterator[Any], count: int) -> Iterator[Any]:
    yield first
    for _ in range(count - 1):
        item = next(rest, None)
        if item is None:
            return
        yield item


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:NAMED]) + (", ..." if len(first) > NAMED else "")
