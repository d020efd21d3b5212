"""Tables beside audio files, `metadata.csv`, `.jsonl` or `.parquet`, as `datasets` reads them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet

from hf_audio_vae.data.folders import split_of_folder
from hf_audio_vae.data.tables import check_json_encoding, read_delimited

METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


@dataclass(frozen=True)
class FolderMetadata:
    """Rows of the tables in a folder.

    Args:
        rows (`pyarrow.Table`): All rows. Columns of file names hold paths relative to the folder of the data set.
        path_columns (`tuple[str, ...]`): These columns: `audio` for `file_name`, `x` for `x_file_name`.
        files (`tuple[str, ...]`): Paths of the tables, relative to the folder.
    """

    rows: pa.Table
    path_columns: tuple[str, ...]
    files: tuple[str, ...]

    @property
    def listed(self) -> set[str]:
        """Paths that the rows name."""
        return {path for column in self.path_columns for path in self.rows[column].to_pylist() if path is not None}

    @property
    def repeated(self) -> int:
        """Number of rows whose files are those of an earlier row. They are items too."""
        named = list(zip(*(self.rows[column].to_pylist() for column in self.path_columns), strict=True))
        return len(named) - len(set(named))

    def within(self, split: str) -> "FolderMetadata":
        """Return the rows whose first file is in a folder of a split."""
        paths = self.rows[self.path_columns[0]].to_pylist()
        chosen = pa.array([path is not None and split_of_folder(path) == split for path in paths], pa.bool_())
        return FolderMetadata(self.rows.filter(chosen), self.path_columns, self.files)


def read_metadata(root: Path, names: Sequence[str]) -> FolderMetadata | None:
    """Read the tables of a folder that name audio files.

    Args:
        root (`Path`): Folder of the data set.
        names (`Sequence[str]`): Paths of files in it, some of which may be tables.

    Returns:
        `FolderMetadata`: Their rows, or `None` if no table has a column `file_name` or `*_file_name`.

    Raises:
        ValueError: A table cannot be read, or names a file outside of its folder.
    """
    tables, files, path_columns = [], [], dict[str, None]()
    for name in names:
        if PurePosixPath(name).name not in METADATA_NAMES:
            continue
        table = _read(root / name)
        renamed = {column: _column_of(column) for column in table.column_names if _is_file_name(table, column)}
        if not renamed:
            continue
        if taken := sorted(set(renamed.values()) & (set(table.column_names) - set(renamed))):
            raise ValueError(
                f"{root / name} has the column {', '.join(taken)}, which is the name of the audio that its column of "
                f"file names lists; rename it."
            )
        for column in renamed:
            paths = [_relative(name, path) for path in table[column].to_pylist()]
            index = table.column_names.index(column)
            table = table.set_column(index, renamed[column], pa.array(paths, pa.string()))
        tables.append(table)
        files.append(name)
        path_columns |= dict.fromkeys(renamed.values())
    if not tables:
        return None
    try:
        rows = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(
            f"{', '.join(files)} in {root} differ in the types of their columns: {' '.join(str(error).split())}"
        ) from error
    return FolderMetadata(rows, tuple(path_columns), tuple(files))


def _read(path: Path) -> pa.Table:
    if path.suffix == ".csv":
        return read_delimited(path)
    if path.suffix == ".jsonl":
        check_json_encoding(path)
    try:
        with open(path, "rb") as file:
            return pa.json.read_json(file) if path.suffix == ".jsonl" else pa.parquet.read_table(file)
    except pa.ArrowException as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _is_file_name(table: pa.Table, column: str) -> bool:
    kind = table.schema.field(column).type
    return (column == "file_name" or column.endswith("_file_name")) and (
        pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )


def _column_of(column: str) -> str:
    return column.removesuffix("file_name").removesuffix("_") or "audio"


def _relative(table: str, path: str | None) -> str | None:
    """Return the path of a file that a table names, relative to the folder of the data set."""
    if path is None:
        return None
    normal = os.path.normpath(path)
    if "://" in path or os.path.isabs(normal) or normal.split(os.sep)[0] == os.pardir:
        raise ValueError(f"{table} names {path!r}, which is not in its folder; use paths relative to the table.")
    return os.path.join(os.path.dirname(table), normal)
