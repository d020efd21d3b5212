"""Folders that libraries write files into."""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors(\.index\.json)?")


@contextmanager
def filling(folder: Path, *, last: str | None = None) -> Iterator[Path]:
    """Yield a hidden folder to write into, and move its files to `folder` when the block ends.

    If the block fails, its files are deleted, and those of `folder` stay. Older weights that the block does not
    replace, such as shards, are deleted from the folders of new weights. The umask decides the mode of the files.

    Args:
        folder (`Path`): Folder to fill; created if it does not exist.
        last (`str`, *optional*): Name of the file that is moved after the others, such as their index.

    Yields:
        `Path`: Empty folder with the same name, inside of `folder`.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    hidden = folder / f".{secrets.token_hex(8)}.partial"
    written = hidden / folder.resolve().name
    with write_errors(folder):
        try:
            written.mkdir(parents=True)
            yield written
            settle(written)
            names = [path.relative_to(written) for path in written.rglob("*") if path.is_file()]
            names.sort(key=lambda name: str(name) == last)
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(written / name, folder / name)
            for parent in {name.parent for name in names if WEIGHTS.fullmatch(name.name)}:
                for path in (folder / parent).iterdir():
                    if WEIGHTS.fullmatch(path.name) and parent / path.name not in names:
                        path.unlink()
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a library that writes to `path` into an `OSError` with its name."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def settle(folder: Path) -> None:
    """Give all files of a folder the mode that the umask asks for, and wait until they are on the disk."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)  # safetensors writes with mode 0600
            with open(path, "rb") as file:
                os.fsync(file.fileno())
