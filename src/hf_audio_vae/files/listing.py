"""Checksum of the files in a folder, independent of the location of the folder.

It has a part for the names and sizes of all files and, if there are tables, one for their content: a table of the same
size may list the audio in another order.
"""

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", "metadata.parquet")
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".lz4")


def listing_checksum(location: str | Sequence[str] | None, *, reads_all: bool = False) -> str | None:
    """Return a checksum of the names and sizes of files and of the content of tables. Hidden files do not count.

    Args:
        location (`str` or a sequence of `str`, *optional*): A folder, a file, or patterns of files.
        reads_all (`bool`): Read the content of all files, such as audio, which may be replaced by others of equal
            size. If not, only tables are read.

    Returns:
        `str`, *optional*: The checksum, equal for a copy elsewhere; `None` if there is no such file.
    """
    patterns = [location] if isinstance(location, str) else location or []
    paths = [name for pattern in patterns for name in ([pattern] if os.path.exists(pattern) else glob.glob(pattern))]
    files = [entry for path in sorted(paths) for entry in _files(Path(path))]
    if not files:
        return None
    sizes = [(name, path.stat().st_size) for name, path in files]
    contents = [(name, _content(path)) for name, path in files if reads_all or _is_table(name)]
    return "-".join(
        hashlib.sha256(repr(entries).encode(errors="surrogateescape")).hexdigest()
        for entries in (sizes, contents)
        if entries
    )


def same_listing(checksum: str, other: str) -> bool:
    """Compare two checksums; those of earlier versions have no part for the content of tables.

    Example:
        >>> same_listing("1a", "1a-2b"), same_listing("1a-3c", "1a-2b")
        (True, False)
    """
    return all(a == b for a, b in zip(checksum.split("-"), other.split("-"), strict=False))


def _is_table(name: str) -> bool:
    lower = name.lower()
    plain = next((lower.removesuffix(ending) for ending in COMPRESSIONS if lower.endswith(ending)), lower)
    return plain.endswith(TABLES)


def _content(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file below a folder, or a file itself, with its name below the folder."""
    if path.is_file():
        yield path.name, path
    for parent, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(parent, name)
            if not name.startswith(".") and file.is_file():
                yield file.relative_to(path).as_posix(), file
