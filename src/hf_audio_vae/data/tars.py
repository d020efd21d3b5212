"""Audio in tar files whose members are samples by name: `song.flac` with `song.txt`, as in WebDataset."""

import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import datasets
import pyarrow as pa

from hf_audio_vae.data.audio_columns import EncodedAudio
from hf_audio_vae.data.folders import is_audio_name

SAMPLED_ROWS = 100  # rows from which the types of the other columns are inferred
DECODERS: dict[str, Callable[[bytes], Any]] = {"txt": bytes.decode, "json": json.loads, "cls": int}


def open_tars(paths: Sequence[str]) -> datasets.IterableDataset:
    """Stream samples of tar files, each file a shard.

    A sample is the members of one name up to its first point, and a column is the rest of the name: `song.mix.flac`
    and `song.bass.flac` give the columns `mix.flac` and `bass.flac`. If not all names are like that, because names
    have points or audio has several formats, every audio member is a sample with the column `audio`, and members of
    the same name up to the last point belong to it.

    Args:
        paths (`Sequence[str]`): Local tar files, compressed or not.

    Returns:
        `datasets.IterableDataset` with columns of `EncodedAudio`, text (`txt`), numbers (`cls`), objects (`json`) and
        bytes. A sample without audio has a gap.

    Raises:
        ValueError: Columns hold values of different types.
        OSError: A file cannot be read.
    """
    with _opened(paths[0], "r:*") as archive:
        names = [member.name for member in archive if _is_sample_file(member)]
    by_column = _has_columns(names)
    rows = []
    for row in _rows(paths[:1], by_column):
        rows.append({name: None if is_audio_name(f".{name}") else value for name, value in row.items()})
        if len(rows) == SAMPLED_ROWS:
            break
    try:
        inferred = datasets.Features.from_arrow_schema(pa.Table.from_pylist(rows).schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"the columns of {paths[0]} hold values of different types: {error}") from error
    audio = {_field(name, by_column)[1] for name in names if is_audio_name(name)}
    features = datasets.Features({name: inferred[name] for row in rows for name in row if name not in audio})
    features |= {name: EncodedAudio() for name in sorted(audio)}
    return datasets.IterableDataset.from_generator(
        _rows_with_gaps, features, {"paths": list(paths), "by_column": by_column, "columns": tuple(features)}
    )


def _has_columns(names: Sequence[str]) -> bool:
    """Whether names up to the first point are samples and the rest are columns, one of which most of them have."""
    columns: dict[str, set[str]] = defaultdict(set)
    for name in names:
        if is_audio_name(name):
            key, column = _field(name, True)
            columns[key].add(column)
    counts = Counter(column for of_key in columns.values() for column in of_key)
    several = any(len(of_key) > 1 for of_key in columns.values())
    return len(counts) == 1 or (several and any(2 * count > len(columns) for count in counts.values()))


def _field(name: str, by_column: bool) -> tuple[str, str]:
    """Return the name of the sample and the column of a member."""
    path = PurePosixPath(name)
    if by_column:
        stem, _, column = path.name.partition(".")
        return str(path.with_name(stem)), column
    return str(path.with_suffix("")), "audio" if is_audio_name(name) else path.suffix.removeprefix(".")


def _is_sample_file(member: tarfile.TarInfo) -> bool:
    name = PurePosixPath(member.name).name
    return member.isfile() and not name.startswith(".") and "." in name


def _rows(paths: Sequence[str], by_column: bool) -> Iterator[dict[str, Any]]:
    """Yield the samples: members of one name that follow each other, each column once."""
    for path in paths:
        row: dict[str, Any] = {}
        with _opened(path, "r|*") as archive:
            for member in filter(_is_sample_file, archive):
                key, column = _field(member.name, by_column)
                if row and (row["__key__"] != key or column in row):
                    yield row
                    row = {}
                file = archive.extractfile(member)
                row |= {"__key__": key, "__url__": path, column: _decoded(member.name, file.read() if file else b"")}
        if row:
            yield row


def _rows_with_gaps(paths: Sequence[str], by_column: bool, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for row in _rows(paths, by_column):
        yield {column: row.get(column) for column in columns}


def _decoded(name: str, content: bytes) -> Any:
    if is_audio_name(name):
        return {"bytes": content, "path": name}
    decode = DECODERS.get(PurePosixPath(name).suffix.removeprefix("."), bytes)
    try:
        return decode(content)
    except ValueError:  # a gap, as in a cell of a table
        return None


@contextmanager
def _opened(path: str, mode: Any) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, mode) as archive:
            yield archive
    except tarfile.TarError as error:
        raise OSError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
