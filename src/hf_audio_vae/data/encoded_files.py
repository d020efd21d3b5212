"""Parquet files of an encoded data set, with checksums: written whole, and checked when they are read."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio_vae.data.sources import open_tables
from hf_audio_vae.files import as_write_error

FOOTER = "hf_audio_vae"
CHECKSUM = "hf_audio_vae.sha256"
NO_TENSORS = ("date", "time", "decimal")  # types that torch lacks; their values are read as texts
REMEDY = "run `hf-audio-vae encode-dataset` again to rewrite it"


class RowWriter:
    """Writes a parquet file with page checksums, which gets its name when it is finished; a context manager.

    `replacing` would take errors of reading the source within its block for errors of writing.

    Args:
        path (`Path`): File to write.
        features (`datasets.Features`): Columns of the file.

    Raises:
        OSError: Any method, if the file cannot be written.
    """

    def __init__(self, path: Path, features: datasets.Features) -> None:
        self.path, self.features = path, features
        self._hidden = path.with_name(f".{path.name}.partial")
        with as_write_error(self.path):
            self._file = pq.ParquetWriter(self._hidden, features.arrow_schema, write_page_checksum=True)

    def __enter__(self) -> "RowWriter":
        return self

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row as its own row group, so that a reader needs no more memory than the writer."""
        ordered = {name: row[name] for name in self.features}
        table = datasets.Dataset.from_list([ordered], features=self.features).data.table
        with as_write_error(self.path):
            self._file.write_table(table.cast(self.features.arrow_schema))

    def finish(self, footer: str) -> None:
        """Write a text into the footer, with checksums of the text and of all rows, and give the file its name."""
        with as_write_error(self.path):
            rows, text = _sha256(self._hidden), hashlib.sha256(footer.encode()).hexdigest()
            self._file.add_key_value_metadata({FOOTER: footer, CHECKSUM: f"{rows} {text}"})
            self._file.close()
            with open(self._hidden, "rb") as file:
                os.fsync(file.fileno())
            os.replace(self._hidden, self.path)

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):  # the disk is full
            self._file.close()
        self._hidden.unlink(missing_ok=True)


def read_footer(path: Path) -> str:
    """Return the text in the footer of a file.

    Raises:
        ValueError: The file is truncated or damaged; the message names it.
        OSError: The file cannot be opened.
    """
    return _read_footer(path)[0]


def check_file(path: Path) -> None:
    """Read all rows of a file and compare them with their checksum; raises like `read_footer`."""
    _, checksum = _read_footer(path)
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        footer_length = int.from_bytes(file.read(4), "little")
    if checksum not in (None, _sha256(path, path.stat().st_size - footer_length - 8)):
        raise _damaged(path, "its rows do not match their checksum")
    with _errors_with_path(path), pq.ParquetFile(path) as parquet:
        for group in range(parquet.num_row_groups):
            parquet.read_row_group(group).validate(full=True)


def count_rows(folder: Path) -> int:
    """Return the number of rows of all files of a folder; raises like `read_footer`."""
    rows = 0
    for path in data_files(folder):
        with _errors_with_path(path):
            rows += pq.read_metadata(path).num_rows
    return rows


def has_columns(path: Path, features: datasets.Features, names: Sequence[str]) -> bool:
    """Whether a file has columns of these names with these features."""
    found = {field.name: field for field in pq.read_schema(path)}
    return all(name in found and found[name] == features.arrow_schema.field(name) for name in names)


def data_files(folder: Path) -> list[Path]:
    """Return the files of a data set in their order."""
    return sorted((folder / "data").glob("[!.]*.parquet"))


def stream_files(dataset_name: str, *, split: str, revision: str | None = None) -> datasets.IterableDataset:
    """Stream the rows of a folder or a Hub data set; a damaged file is a `ValueError` that names it."""
    options = pa.dataset.ParquetFragmentScanOptions(page_checksum_verification=True)
    try:
        stream = open_tables(dataset_name, split=split, revision=revision, fragment_scan_options=options)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{dataset_name} has a damaged file: {error}; {REMEDY}.") from error
    examples = stream._ex_iterable
    if hasattr(examples, "generate_tables_fn"):
        examples.generate_tables_fn = _NamedTables(examples.generate_tables_fn)
    for column, feature in (stream.features or {}).items():
        if isinstance(feature, datasets.Value) and feature.dtype.startswith(NO_TENSORS):
            stream = stream.cast_column(column, datasets.Value("string"))
    return stream


class _NamedTables:
    """The tables of files, as `datasets` reads them; a class, since worker processes pickle it."""

    def __init__(self, read: Any) -> None:
        self.read = read

    def __call__(self, files: Sequence[str], row_groups_list: Sequence[Any]) -> Iterator[Any]:
        for file, row_groups in zip(files, row_groups_list, strict=True):
            with _errors_with_path(file):
                yield from self.read([file], [row_groups])


def _read_footer(path: Path) -> tuple[str, str | None]:
    """Return the text in the footer, and the checksum of the rows if the file has one."""
    with _errors_with_path(path):
        metadata = pq.read_metadata(path).metadata or {}
        text = metadata[FOOTER.encode()].decode()
        if CHECKSUM.encode() not in metadata:
            return text, None  # a file of version 0.1
        rows, own = metadata[CHECKSUM.encode()].decode().split()
        if own != hashlib.sha256(text.encode()).hexdigest():
            raise ValueError("its footer does not match its checksum")
        return text, rows


def _sha256(path: Path, count: int | None = None) -> str:
    """SHA-256 of a file, or of its first `count` bytes."""
    digest = hashlib.sha256()
    left = path.stat().st_size if count is None else count
    with open(path, "rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _damaged(path: str | Path, reason: object) -> ValueError:
    return ValueError(f"{path} is damaged: {' '.join(str(reason).split())}; {REMEDY}.")


@contextmanager
def _errors_with_path(path: str | Path) -> Iterator[None]:
    """Turn the errors of pyarrow into a `ValueError` with the name of the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error
