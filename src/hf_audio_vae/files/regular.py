"""Refuse special files: opening a pipe or a device may wait forever, or act on the device."""

import stat
from pathlib import Path


def check_regular_file(path: str | Path) -> None:
    """Check that a path leads to a regular file that can be opened, also through symbolic links.

    safetensors reports a file that it may not open as missing.

    Raises:
        OSError: There is no such file, it is a folder, a pipe, a socket or a device, or it may not be read.
    """
    path = Path(path)
    _check_kind(path)
    try:
        open(path, "rb").close()
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read ({error.strerror}); change its permissions.") from error


def _check_kind(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise type(error)(f"{path} cannot be read: {error.strerror or error}") from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; name a file.")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a pipe, a socket or a device; copy its content to a file, and pass that file.")


def check_regular_folder(path: str | Path) -> None:
    """Check that a folder has only regular files and folders at its top level; raises `OSError`."""
    for child in sorted(Path(path).iterdir()):
        if not child.is_dir():
            _check_kind(child)
