"""Write a file beside its name and rename it, so that a name never holds an incomplete file."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


class WriteError(OSError):
    """A file or a folder cannot be written.

    Attributes:
        reason (`str`): What the system says, such as "No space left on device".
    """

    reason: str


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a hidden path in the folder of `path`, with its extension; rename it to `path` when the block ends.

    If the block fails, the hidden file is deleted, and an older file of that name stays. A symbolic link is replaced,
    not followed. A device, a pipe or a socket is not replaced: root could remove `/dev/null`. The umask decides the
    mode of the file.

    Args:
        path (`str` or `Path`): File to write, or to replace.

    Yields:
        `Path`: File for the block to write.

    Raises:
        OSError: The folder does not exist or cannot be written, the disk is full, or `path` leads to a device, a pipe
            or a socket.
    """
    path = Path(path)
    hidden = path.with_name(f".{secrets.token_hex(8)}.partial{path.suffix}")
    with as_write_error(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise OSError("it is a device, a pipe or a socket; name a file")
        try:
            with open(hidden, "xb") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
            yield hidden
            hidden.chmod(mode)  # safetensors writes with mode 0600
            with open(hidden, "rb") as file:
                os.fsync(file.fileno())
            os.replace(hidden, path)
        finally:
            hidden.unlink(missing_ok=True)


@contextmanager
def as_write_error(path: Path) -> Iterator[None]:
    """Turn the errors of a library that writes to `path` into a `WriteError` with its name.

    Of nested blocks the outermost names its path, since inner ones are hidden, or belong to the same output.
    """
    try:
        yield
    except (SafetensorError, OSError) as error:
        reason = error.reason if isinstance(error, WriteError) else getattr(error, "strerror", None) or str(error)
        failure = WriteError(f"{path} cannot be written: {reason}")
        failure.reason = reason
        raise failure from error
