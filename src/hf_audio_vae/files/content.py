"""Identity of a folder by what is in it, wherever it is."""

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def content_checksum(location: str | Sequence[str] | None) -> str | None:
    """Return a checksum of the names and sizes of files. Their content is not read, and hidden files do not count.

    Args:
        location (`str` or a sequence of `str`, *optional*): A folder, a file, or patterns of files.

    Returns:
        `str`, *optional*: The checksum, equal for a copy elsewhere; `None` if there is no such file.
    """
    patterns = [location] if isinstance(location, str) else location or []
    paths = [name for pattern in patterns for name in ([pattern] if os.path.exists(pattern) else glob.glob(pattern))]
    sizes = [entry for path in sorted(paths) for entry in _sizes(Path(path))]
    return hashlib.sha256(repr(sizes).encode(errors="surrogateescape")).hexdigest() if sizes else None


def _sizes(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each file below a folder, or a file itself, with its size."""
    if path.is_file():
        yield path.name, path.stat().st_size
    for parent, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(parent, name)
            if not name.startswith(".") and file.is_file():
                yield file.relative_to(path).as_posix(), file.stat().st_size
