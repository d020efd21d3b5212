"""Refuse special files: opening a pipe or a device may wait forever, or act on the device."""

import stat
from pathlib import Path


def check_regular_file(path: str | Path) -> None:
    """Check that a path leads to a regular file, also through symbolic links.

    Raises:
        OSError: There is no such file, or it is a folder, a pipe, a socket or a device.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror or error}") from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; name a file.")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a pipe, a socket or a device; write its content to a file, and name that.")


def check_regular_folder(path: str | Path) -> None:
    """Check that a folder has only regular files and folders at its top level; raises `OSError`."""
    for child in sorted(Path(path).iterdir()):
        if not child.is_dir():
            check_regular_file(child)
