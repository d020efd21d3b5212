"""Checksum of the files in a folder, independent of the location of the folder.

It has a part for the names and sizes of all files; if there are tables, one for their content, since a table of the
same size may list the audio in another order; and one for samples of the content of the other files.
"""

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", "metadata.parquet")
SAMPLES = "s"  # first letter of the part for samples; the others are hexadecimal
SAMPLED_BYTES = 16384  # at the start, in the middle and at the end of a file
MAX_SAMPLED = 10_000  # of a larger folder, this many files are sampled, evenly
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst", ".lz4")


def listing_checksum(location: str | Sequence[str] | None, *, reads_all: bool = False) -> str | None:
    """Return a checksum of the names, sizes and content of files. Hidden files do not count.

    The whole content of tables is read, and samples of that of the other files: `SAMPLED_BYTES` at the start, in the
    middle and at the end. A change between them is not noticed.

    Args:
        location (`str` or a sequence of `str`, *optional*): A folder, a file, or patterns of files.
        reads_all (`bool`): Read the whole content of all files.

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
    samples = [] if reads_all else _samples([path for name, path in files if not _is_table(name)])
    parts: dict[str, Sequence[object]] = {"": sizes, " ": contents, SAMPLES: samples}
    return "-".join(f"{kind.strip()}{_sha256(entries)}" for kind, entries in parts.items() if entries)


def same_listing(checksum: str, other: str) -> bool:
    """Compare two checksums; those of earlier versions have no parts for the content of tables, or for samples.

    Example:
        >>> same_listing("1a", "1a-2b"), same_listing("1a-3c", "1a-2b"), same_listing("1a-s3c", "1a-s4d")
        (True, False, False)
    """
    ours, theirs = _parts(checksum), _parts(other)
    return all(ours[name] == theirs[name] for name in ours.keys() & theirs.keys())


def _parts(checksum: str) -> dict[str, str]:
    """Return the parts of a checksum by their kind. An earlier version has only the first, or the first two."""
    first, *others = checksum.split("-")
    return {"sizes": first} | {"samples" if part.startswith(SAMPLES) else "tables": part for part in others}


def _is_table(name: str) -> bool:
    lower = name.lower()
    plain = next((lower.removesuffix(ending) for ending in COMPRESSIONS if lower.endswith(ending)), lower)
    return plain.endswith(TABLES)


def _sha256(entries: Sequence[object]) -> str:
    return hashlib.sha256(repr(entries).encode(errors="surrogateescape")).hexdigest()


def _samples(paths: Sequence[Path]) -> list[str]:
    chosen = paths[:: -(-len(paths) // MAX_SAMPLED) or 1]
    with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
        return list(pool.map(_sampled, chosen))


def _sampled(path: Path) -> str:
    """Return a checksum of samples of the content of a file; of an empty one if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            last = max(path.stat().st_size - SAMPLED_BYTES, 0)
            for start in (0, last // 2, last):
                file.seek(start)
                digest.update(file.read(SAMPLED_BYTES))
    except OSError:  # its reader names it
        pass
    return digest.hexdigest()


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
