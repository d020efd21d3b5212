"""Write a file beside its name and rename it, so that a name never holds an incomplete file."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a hidden path in the folder of `path`, with its extension; rename it to `path` when the block ends.

    If the block fails, the hidden file is deleted, and an older file of that name stays. A symbolic link is replaced,
    not followed. The umask decides the mode, whatever library writes the file.

    Args:
        path (`str` or `Path`): File to write, or to replace.

    Yields:
        `Path`: File for the block to write.

    Raises:
        OSError: The folder does not exist or cannot be written, or the disk is full.
    """
    path = Path(path)
    hidden = path.with_name(f".{secrets.token_hex(8)}.partial{path.suffix}")
    try:
        with open(hidden, "xb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
        yield hidden
        hidden.chmod(mode)  # safetensors writes with mode 0600
        with open(hidden, "rb") as file:
            os.fsync(file.fileno())
        os.replace(hidden, path)
    except (SafetensorError, RuntimeError) as error:  # soundfile's error is a RuntimeError
        raise OSError(f"{path} cannot be written: {error}") from error
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        hidden.unlink(missing_ok=True)
