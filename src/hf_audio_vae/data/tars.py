"""Audio in tar files whose members are grouped into samples by name, `song.flac` and `song.txt`, as in WebDataset."""

import json
import lzma
import re
import tarfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import datasets
import pyarrow as pa

from hf_audio_vae.data.audio_columns import EncodedAudio
from hf_audio_vae.data.clips import as_utf8
from hf_audio_vae.data.folders import counted, is_audio_name, suffix_counts

READ_BYTES = 2**20
JSON_BATCH = 1000  # objects whose types are inferred together
DECODERS: dict[str, Callable[[bytes], Any]] = {
    "txt": bytes.decode,
    "json": json.loads,
    "cls": lambda content: content.decode().strip(),
}


def open_tars(paths: Sequence[str]) -> tuple[datasets.IterableDataset, list[str]]:
    """Stream samples of tar files, each file a shard.

    The members whose names agree up to the first dot are a sample, and the rest of the name is the column:
    `song.mix.flac` and `song.bass.flac` give the columns `mix.flac` and `bass.flac`. If the names do not have this
    form, because stems contain dots or the audio has several formats, every audio member is a sample with the column
    `audio`, and the members with the same name up to the last dot belong to it.

    Args:
        paths (`Sequence[str]`): Local tar files, compressed or not.

    Returns:
        `datasets.IterableDataset` with columns of `EncodedAudio`, text (`txt`), labels (`cls`: numbers, or texts if
        one of them is no number), objects (`json`) and bytes. A sample without audio has a gap. Then remarks about
        members that are not used.

    Raises:
        ValueError: Columns hold values of different types, or a file has data after its end mark.
        OSError: A file cannot be read.
    """
    by_column, audio, others, left_out = _columns(paths)
    remarks = [f"{counted(len(left_out), 'other member')} left out ({suffix_counts(left_out)})"] if left_out else []
    types = dict.fromkeys(("__key__", "__url__"), "string")
    types |= {column: "string" if _suffix(column) in DECODERS else "binary" for column in others}
    features = datasets.Features({column: datasets.Value(kind) for column, kind in types.items()})
    if any(_suffix(column) in DECODERS for column in others):
        values = _Values()
        for path in paths:
            values.read(path, by_column)
        features |= values.features()
        remarks += values.remarks()
    features |= {column: EncodedAudio() for column in audio}
    numbers = [column for column in others if features[column] == datasets.Value("int64") and not _is_json(column)]
    arguments = {"paths": list(paths), "by_column": by_column, "columns": tuple(features), "numbers": tuple(numbers)}
    return datasets.IterableDataset.from_generator(_rows_with_gaps, features, arguments), remarks


def _columns(paths: Sequence[str]) -> tuple[bool, list[str], list[str], list[str]]:
    """Return whether the names have the form `sample.column`, the columns of audio, the others, and unused members.

    They have this form if the samples have only one column of audio, or if some have several and most have one of
    them. The names of all members are read: any sample may have a column that no other has.
    """
    samples, several, counts, left_out = 0, False, Counter[str](), list[str]()
    found: dict[bool, dict[str, bool]] = {True: {}, False: {}}  # columns, and whether they hold audio
    for path in paths:
        with _opened(path) as archive:
            files = [member for member in archive if not member.isdir()]
            _check_end(path, archive)
        names = [member.name for member in files if _is_sample_file(member)]
        left_out += [member.name for member in files if not _is_sample_file(member)]
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
    return by_column, audio, [column for column in columns if column not in audio], left_out


class _Values:
    """Types of the columns of JSON and of labels, from all their values, and the members that cannot be decoded."""

    def __init__(self) -> None:
        self.schema = pa.schema([])
        self.labels: dict[str, bool] = {}  # columns, and whether all their labels are numbers
        self.unreadable: list[str] = []

    def read(self, path: str, by_column: bool) -> None:
        """Read all values of a tar file."""
        batch = defaultdict[str, list[Any]](list)
        with _opened(path) as archive:
            for member in archive:
                suffix = _suffix(member.name)
                if suffix not in DECODERS or not _is_sample_file(member):
                    continue
                column = _field(member.name, by_column)[1]
                try:
                    value = DECODERS[suffix](_content(archive, member))
                except (ValueError, RecursionError):
                    self.unreadable.append(as_utf8(member.name))
                    value = None
                if suffix == "cls":
                    self.labels[column] = self.labels.get(column, True) and (not value or _is_number(value))
                elif suffix == "json":
                    batch[column].append(value)
                    if len(batch[column]) == JSON_BATCH:
                        self._widen(batch, path)
        self._widen(batch, path)

    def _widen(self, batch: dict[str, list[Any]], path: str) -> None:
        """Widen the schema to the values of a batch, and empty the batch."""
        try:
            new = pa.schema([(column, pa.array(values).type) for column, values in batch.items()])
            self.schema = pa.unify_schemas([self.schema, new], promote_options="permissive")
        except (pa.ArrowException, OverflowError) as error:
            raise ValueError(f"the columns of {path} hold values of different types: {error}") from error
        batch.clear()

    def features(self) -> datasets.Features:
        """Return the types of the columns."""
        types = {column: "int64" if numbers else "string" for column, numbers in self.labels.items()}
        labels = {column: datasets.Value(kind) for column, kind in types.items()}
        return datasets.Features(labels | datasets.Features.from_arrow_schema(self.schema))

    def remarks(self) -> list[str]:
        """Return a remark about the members that cannot be decoded, if there are any."""
        if not self.unreadable:
            return []
        shown = ", ".join(self.unreadable[:3]) + (", ..." if len(self.unreadable) > 3 else "")
        return [f"{counted(len(self.unreadable), 'member')} without a value, since not UTF-8 or not JSON ({shown})"]


def _is_number(text: str) -> bool:
    """Whether a text is an integer of 64 bits."""
    return bool(re.fullmatch(r"[+-]?\d{1,19}", text, re.ASCII)) and -(2**63) <= int(text) < 2**63


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


def _rows_with_gaps(
    paths: Sequence[str], by_column: bool, columns: Sequence[str], numbers: Collection[str]
) -> Iterator[dict[str, Any]]:
    for row in _rows(paths, by_column):
        row |= {column: int(row[column]) if row[column] else None for column in numbers if column in row}
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
    except (ValueError, RecursionError):  # a gap, as in a cell of a table
        return None


@contextmanager
def _opened(path: str) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as archive:
            yield archive
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise OSError(f"{path} cannot be read: {reason}") from error


def _check_end(path: str, archive: tarfile.TarFile) -> None:
    """Raise `ValueError` if a tar file that was read to its end mark has members after it."""
    file = cast(BinaryIO, archive.fileobj)
    file.seek(archive.offset)
    while block := file.read(READ_BYTES):
        if block.strip(b"\0"):
            raise ValueError(
                f"{path} has data after its end mark, as concatenated tar files have; extract it with "
                f"`tar --ignore-zeros` and pack it again."
            )
