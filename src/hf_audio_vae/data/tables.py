"""Rows of parquet, arrow, tar, CSV and JSON files."""

import codecs
import lzma
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq
from datasets.data_files import DataFilesList

from hf_audio_vae.data.tars import open_tars

READ_ROWS = 100  # of parquet files with an empty row group
NULLS = [*pa.csv.ConvertOptions().null_values, "None", "<NA>"]
SEPARATORS = {"csv": ",", "tsv": "\t"}
SCALARS = {  # types that `datasets` casts to each other
    "integers": (pa.types.is_integer, pa.types.is_boolean),
    "fractions": (pa.types.is_floating, pa.types.is_decimal),
    "texts": (pa.types.is_string, pa.types.is_large_string),
    "bytes": (pa.types.is_binary, pa.types.is_large_binary),
}


@dataclass(frozen=True)
class Part:
    """A stream with known features.

    Args:
        stream (`datasets.IterableDataset`): The rows.
        folder (`str`, *optional*): Folder or URL that paths in its cells are relative to, if there is only one.
        remarks (`Sequence[str]`): What is not used of its files.
    """

    stream: datasets.IterableDataset
    folder: str | None = None
    remarks: Sequence[str] = ()


def open_part(kind: str, paths: Sequence[str], folder: str, **options: object) -> Part:
    """Stream the rows of files of one kind, with further options of the builder of `datasets` for them.

    Args:
        kind (`str`): `"parquet"`, `"arrow"`, `"webdataset"`, `"csv"`, `"tsv"` or `"json"`.
        paths (`Sequence[str]`): Absolute paths.
        folder (`str`): As in `Part`.
        **options: Arguments of the builder.

    Raises:
        ValueError: A file cannot be read, or its columns do not fit those of the first file. It may also be raised
            during iteration.
    """
    if kind == "webdataset":  # that of `datasets` refuses names with points, several formats, and samples with gaps
        stream, remarks = open_tars(paths)
        return Part(stream, folder, remarks)
    if kind in SEPARATORS:  # that of `datasets` infers types from the first rows, and takes a surplus column for names
        return Part(stream_of_table(_read_tables(paths, SEPARATORS[kind])), folder)
    for path in paths if kind == "parquet" else ():
        metadata = _parquet_metadata(path)
        if not all(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)):
            options["batch_size"] = READ_ROWS  # by default the rows of the first row group, even if they are none
    if kind in ("parquet", "arrow"):
        read = pq.read_schema if kind == "parquet" else _arrow_schema
        check_columns({path: read(path) for path in paths})
    for path in paths if kind == "json" else ():
        check_json_encoding(path)
    stream = builder_of(kind, paths, **options).as_streaming_dataset(split="train")
    if kind == "json":
        stream._ex_iterable.generate_tables_fn = _NamedTables(stream._ex_iterable.generate_tables_fn)
    return Part(with_features(stream), folder)


def builder_of(kind: str, paths: Sequence[str], **options: object) -> datasets.DatasetBuilder:
    """Return the builder of `datasets` for files."""
    # A `DataFilesList` is taken as it is. Names in a plain list would be glob patterns.
    files = DataFilesList(list(paths), [(str(os.path.getmtime(path)),) for path in paths])
    return datasets.load_dataset_builder(kind, data_files={"train": files}, **options)


def with_features(stream: datasets.IterableDataset) -> datasets.IterableDataset:
    """Return the stream with known features; if the data set has no schema, they are inferred from its first rows."""
    return stream if stream.features is not None else stream._resolve_features()


class _NamedTables:
    """The tables of JSON files, as `datasets` reads them; errors name the file."""

    def __init__(self, read: Any) -> None:
        self.read = read

    def __call__(self, base_files: Sequence[str], **others: Sequence[Any]) -> Iterator[Any]:
        for index, path in enumerate(base_files):
            try:
                yield from self.read([path], **{name: values[index : index + 1] for name, values in others.items()})
            except (pa.ArrowException, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path} cannot be read with the columns of the first rows: {' '.join(str(error).split())}"
                ) from error


def stream_of_table(rows: pa.Table) -> datasets.IterableDataset:
    """Stream the rows of a table."""
    features = datasets.Features.from_arrow_schema(rows.schema.remove_metadata())
    return datasets.IterableDataset.from_generator(_rows_of_table, features, {"rows": rows})


def _rows_of_table(rows: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()


def check_columns(schemas: Mapping[str, pa.Schema], *, promoting: bool = False) -> None:
    """Raise `ValueError` if a file has columns that the first file does not have, or columns of other types.

    A column that a later file does not have is a gap in its rows.

    Args:
        schemas (`Mapping[str, pyarrow.Schema]`): Columns of each file, by its path.
        promoting (`bool`): Whether integers become fractions if a later file has fractions.
    """
    (first, expected), *others = schemas.items()
    for path, schema in others:
        if surplus := sorted(set(schema.names) - set(expected.names)):
            raise ValueError(
                f"{path} has the column{'s' * (len(surplus) > 1)} {', '.join(surplus)}, which {first} does not have; "
                f"use files with the same columns, or choose some with `data_files`."
            )
        for field in schema:
            ours, theirs = _scalar(field.type), _scalar(expected.field(field.name).type)
            both = {ours, theirs} - {None}
            if len(both) > 1 and not (both == {"integers", "fractions"} and (promoting or theirs == "fractions")):
                raise ValueError(
                    f"the column {field.name} of {path} has {ours} and that of {first} {theirs}; use files with the "
                    f"same columns, or choose some with `data_files`."
                )


def _scalar(kind: pa.DataType) -> str | None:
    return next((name for name, checks in SCALARS.items() if any(check(kind) for check in checks)), None)


def _parquet_metadata(path: str) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:  # cut off: the footer is at the end
        raise ValueError(f"{path} is not a complete parquet file ({error}); use an intact copy.") from error


def _arrow_schema(path: str) -> pa.Schema:
    try:
        with open(path, "rb") as file:
            opened = pa.ipc.open_file if file.read(6) == b"ARROW1" else pa.ipc.open_stream
            file.seek(0)
            return opened(file).schema
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a complete arrow file ({error}); use an intact copy.") from error


def _read_tables(paths: Sequence[str], separator: str) -> pa.Table:
    tables = {path: read_delimited(path, separator) for path in paths}
    check_columns({path: table.schema for path, table in tables.items()}, promoting=True)
    return pa.concat_tables(tables.values(), promote_options="permissive")


def read_delimited(path: str | Path, separator: str = ",") -> pa.Table:
    """Read a CSV file in UTF-8, compressed or not; the types of its columns are those of all rows.

    An empty cell is null. In columns of numbers, `NA`, `None`, `null`, `nan` and the like are null, too.

    Raises:
        ValueError: The file cannot be read, is not UTF-8, has a column twice or a quoted cell that is not closed.
        OSError: It cannot be opened.
    """
    try:
        if str(path).endswith(".xz"):
            with lzma.open(path) as file:
                content = file.read()
        else:
            with pa.input_stream(str(path), compression="detect") as file:
                content = file.read()
        if b"\0" in content:  # UTF-16 has one in each comma and line end
            raise ValueError(_other_encoding(path))
        _check_quotes(path, content, separator)
        table = pa.csv.read_csv(
            pa.BufferReader(content),
            pa.csv.ReadOptions(block_size=min(max(len(content), 1), 2**31 - 1)),  # types are inferred from a block
            pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            pa.csv.ConvertOptions(null_values=NULLS),  # in columns that are no texts
        )
    except (pa.ArrowException, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    table = _with_gaps(_with_leading_zeros(table, content, separator))
    if repeated := sorted({a for a, b in pairwise(sorted(table.column_names)) if a == b}):
        raise ValueError(f"{path} has the column {', '.join(repeated)} twice; rename one.")
    if binary := [field.name for field in table.schema if pa.types.is_binary(field.type)]:
        raise ValueError(f"{path} is not UTF-8 in the column {', '.join(binary)}; convert it to UTF-8.")
    return table


def _with_gaps(table: pa.Table) -> pa.Table:
    """Return a table whose empty texts are null. `None` and `NA` are texts there: classes may have these names."""
    for index, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            empty = pa.compute.equal(table.column(index), "")
            table = table.set_column(
                index, field, pa.compute.if_else(empty, pa.scalar(None, field.type), table.column(index))
            )
    return table


def _with_leading_zeros(table: pa.Table, content: bytes, separator: str) -> pa.Table:
    """Return a table whose columns of integers are texts if some of them have leading zeros: `007` is a name."""
    integers = [field.name for field in table.schema if pa.types.is_integer(field.type)]
    if not integers or not re.search(rb"(?<![\d.])0\d", content) or len(set(table.column_names)) < table.num_columns:
        return table
    texts = pa.csv.read_csv(
        pa.BufferReader(content),
        pa.csv.ReadOptions(block_size=min(max(len(content), 1), 2**31 - 1)),
        parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            null_values=NULLS,
            strings_can_be_null=True,
            include_columns=integers,
            column_types=dict.fromkeys(integers, pa.string()),
        ),
    )
    for name in integers:
        if pa.compute.any(pa.compute.match_substring_regex(texts[name], r"^\s*[+-]?0\d")).as_py():
            table = table.set_column(table.column_names.index(name), name, texts[name])
    return table


def check_json_encoding(path: str | Path) -> None:
    """Raise `ValueError` if a JSON file, compressed or not, is in UTF-16 or UTF-32 instead of UTF-8."""
    try:
        with pa.input_stream(str(path), compression="detect") as file:
            start = file.read(2)
    except (pa.ArrowException, OSError):
        return  # its reader says so
    # After a mark of the byte order, if any, the first character is ASCII: half of it is a null byte.
    if b"\0" in start or start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise ValueError(_other_encoding(path))


def _other_encoding(path: str | Path) -> str:
    return f"{path} has null bytes, as files in UTF-16 have; convert it to UTF-8."


def _check_quotes(path: str | Path, content: bytes, separator: str) -> None:
    """Raise `ValueError` if a quoted cell is not closed before the next separator: it would hold the rows after it."""
    end = f"{separator}\r\n".encode()
    cells = rb'(?<![^%b])"[^"]*(?:""[^"]*)*"(?![^%b])|(?<![^%b])(?P<open>")' % (end, end, end)
    for cell in re.finditer(cells, content.removeprefix(codecs.BOM_UTF8)):
        if cell["open"]:
            line = content.count(b"\n", 0, cell.start()) + 1
            raise ValueError(
                f"{path} has a quotation mark in line {line} that is not closed at the end of its cell; close it, and "
                f"double those inside of quoted cells."
            )
