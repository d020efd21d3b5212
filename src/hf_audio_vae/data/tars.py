"""Audio in tar files whose members are grouped into samples by name, `song.flac` and `song.txt`, as in WebDataset."""

import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from hf_audio_vae.data.audio_columns import EncodedAudio
from hf_audio_vae.data.clips import as_utf8
from hf_audio_vae.data.folders import is_audio_name

JSON_BATCH = 1000  # objects whose types are inferred together
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "txt": bytes.decode,
    "json": json.loads,
    "cls": lambda content: int(np.int64(int(content))),
}
TYPES = {"txt": "string", "cls": "int64"}


def open_tars(paths: Sequence[str]) -> datasets.IterableDataset:
    """Stream samples of tar files, each file a shard.

    The members whose names agree up to the first dot are a sample, and the rest of the name is the column:
    `song.mix.flac` and `song.bass.flac` give the columns `mix.flac` and `bass.flac`. If the names do not have this
    form, because stems contain dots or the audio has several formats, every audio member is a sample with the column
    `audio`, and the members with the same name up to the last dot belong to it.

    Args:
        paths (`Sequence[str]`): Local tar files, compressed or not.

    Returns:
        `datasets.IterableDataset` with columns of `EncodedAudio`, text (`txt`), numbers (`cls`), objects (`json`) and
        bytes. A sample without audio has a gap.

    Raises:
        ValueError: Columns hold values of different types.
        OSError: A file cannot be read.
    """
    by_column, audio, others = _columns(paths)
    types = dict.fromkeys(("__key__", "__url__"), "string")
    types |= {column: TYPES.get(_suffix(column), "binary") for column in others if not _is_json(column)}
    features = datasets.Features({column: datasets.Value(kind) for column, kind in types.items()})
    features |= _json_features(paths, by_column) if any(map(_is_json, others)) else {}
    features |= {column: EncodedAudio() for column in audio}
    return datasets.IterableDataset.from_generator(
        _rows_with_gaps, features, {"paths": list(paths), "by_column": by_column, "columns": tuple(features)}
    )


def _columns(paths: Sequence[str]) -> tuple[bool, list[str], list[str]]:
    """Return whether the names have the form `sample.column`, the columns of audio, and the others.

    They have this form if the samples have only one column of audio, or if some have several and most have one of
    them. The names of all members are read: any sample may have a column that no other has.
    """
    samples, several, counts = 0, False, Counter[str]()
    found: dict[bool, dict[str, bool]] = {True: {}, False: {}}  # columns, and whether they hold audio
    for path in paths:
        with _opened(path) as archive:
            names = [member.name for member in archive if _is_sample_file(member)]
        for by_column, columns in found.items():
            columns |= {_field(name, by_column)[1]: is_audio_name(name) for name in names}
        of_sample: dict[str, set[str]] = defaultdict(set)
        for key, column in (_field(name, True) for name in names if is_audio_name(name)):
            of_sample[key].add(column)
        samples += len(of_sample)
        several |= any(len(of_key) > 1 for of_key in of_sample.values())
        counts.update(column for of_key in of_sample.values() for column in of_key)
    by_column = len(counts) == 1 or (several and any(2 * count > samples for count in counts.values()))
    columns = found[by_column]
    audio = sorted(column for column, is_audio in columns.items() if is_audio)
    return by_column, audio, [column for column in columns if column not in audio]


def _json_features(paths: Sequence[str], by_column: bool) -> datasets.Features:
    """Infer the types of the columns of JSON from all their values."""
    schema, batch = pa.schema([]), defaultdict[str, list[Any]](list)
    for path in paths:
        with _opened(path) as archive:
            for member in archive:
                if _is_json(member.name) and _is_sample_file(member):
                    column = batch[_field(member.name, by_column)[1]]
                    column.append(_decoded(member.name, _content(archive, member)))
                    if len(column) == JSON_BATCH:
                        schema = _widened(schema, batch, path)
        schema = _widened(schema, batch, path)
    return datasets.Features.from_arrow_schema(schema)


def _widened(schema: pa.Schema, batch: dict[str, list[Any]], path: str) -> pa.Schema:
    """Return the schema that holds the values of a batch as well, and empty the batch."""
    try:
        new = pa.schema([(column, pa.array(values).type) for column, values in batch.items()])
        schema = pa.unify_schemas([schema, new], promote_options="permissive")
    except (pa.ArrowException, OverflowError) as error:
        raise ValueError(f"the columns of {path} hold values of different types: {error}") from error
    batch.clear()
    return schema


def _suffix(name: str) -> str:
    return PurePosixPath(f"x.{name}").suffix.removeprefix(".")


def _is_json(name: str) -> bool:
    return _suffix(name) == "json"


def _field(name: str, by_column: bool) -> tuple[str, str]:
    """Return the name of the sample and the column of a member."""
    path = PurePosixPath(as_utf8(name))
    if by_column:
        stem, _, column = path.name.partition(".")
        return str(path.with_name(stem)), column
    return str(path.with_suffix("")), "audio" if is_audio_name(name) else path.suffix.removeprefix(".")


def _is_sample_file(member: tarfile.TarInfo) -> bool:
    name = PurePosixPath(member.name).name
    return (member.isfile() or member.islnk() or member.issym()) and not name.startswith(".") and "." in name


def _rows(paths: Sequence[str], by_column: bool) -> Iterator[dict[str, Any]]:
    """Yield the samples: members of one name that follow each other, each column once."""
    for path in paths:
        row: dict[str, Any] = {}
        with _opened(path) as archive:
            for member in filter(_is_sample_file, archive):
                key, column = _field(member.name, by_column)
                if row and (row["__key__"] != key or column in row):
                    yield row
                    row = {}
                content = _content(archive, member)
                row |= {"__key__": key, "__url__": as_utf8(path), column: _decoded(member.name, content)}
        if row:
            yield row


def _rows_with_gaps(paths: Sequence[str], by_column: bool, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for row in _rows(paths, by_column):
        yield {column: row.get(column) for column in columns}


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Read a member, or the member that it links to: tar writes links for files that share their content."""
    try:
        file = archive.extractfile(member)
    except (KeyError, RecursionError):  # the link leads nowhere
        return b""
    return file.read() if file else b""


def _decoded(name: str, content: bytes) -> Any:
    if is_audio_name(name):
        return {"bytes": content, "path": name}
    decode = DECODERS.get(_suffix(name), bytes)
    try:
        return decode(content)
    except (ValueError, OverflowError, RecursionError):  # a gap, as in a cell of a table
        return None


@contextmanager
def _opened(path: str) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as archive:
            yield archive
    except tarfile.TarError as error:
        raise OSError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
