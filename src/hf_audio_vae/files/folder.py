"""Write several files into a folder, each whole or not at all."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def adding_to(folder: str | Path, *, last: str | None = None) -> Iterator[Path]:
    """Yield a hidden folder inside `folder`; move its files to `folder` when the block ends.

    If the block fails, the hidden folder is deleted, and older files stay. A file may be written from memory that is
    mapped to the older file of that name. The umask decides the modes, whatever library writes the files.

    Args:
        folder (`str` or `Path`): Folder for the files, created if missing.
        last (`str`, *optional*): Name of the file that is moved after the others, such as their index.

    Yields:
        `Path`: Folder for the block to write to.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    hidden = folder / f".{secrets.token_hex(8)}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        hidden.mkdir()
        mode = hidden.stat().st_mode & 0o666
        yield hidden
        for path in sorted(hidden.iterdir(), key=lambda path: path.name == last):
            path.chmod(mode)  # safetensors writes with mode 0600
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            os.replace(path, folder / path.name)
    except SafetensorError as error:
        raise OSError(f"{folder} cannot be written: {error}") from error
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
