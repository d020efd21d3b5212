"""Folders that libraries write files into."""

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hf_audio_vae.files.writing import as_write_error

WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors(\.index\.json)?")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents if they are missing; raises `OSError`, which names a file in their place."""
    check_no_file(folder)
    folder.mkdir(parents=True, exist_ok=True)


def check_folder_writable(folder: Path) -> None:
    """Make a folder if it is missing; raises `OSError` if no file can be made in it."""
    make_folder(folder)
    tempfile.TemporaryFile(dir=folder).close()


def check_no_file(folder: Path) -> None:
    """Raise `NotADirectoryError` if a file is in the place of a folder or of one of its parents."""
    found = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), None)
    if found is not None and not found.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{found} is a file; name a folder")


@contextmanager
def filling(folder: Path, *, first: str | None = None, last: str | None = None) -> Iterator[Path]:
    """Yield a hidden folder to write into, and move its files to `folder` when the block ends.

    If the block fails, its files are deleted, and those of `folder` stay. Older weights that the block does not
    replace, such as shards, are deleted from the folders of new weights. The umask decides the mode of the files.

    Args:
        folder (`Path`): Folder to fill; created if it does not exist.
        first (`str`, *optional*): Name of the file that is moved before the others.
        last (`str`, *optional*): Name of the file that is moved after the others, such as their index.

    Yields:
        `Path`: Empty folder with the same name, inside of `folder`.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    hidden = folder / f".{secrets.token_hex(8)}.partial"
    written = hidden / folder.resolve().name
    with as_write_error(folder):
        try:
            written.mkdir(parents=True)
            yield written
            settle(written)
            names = [path.relative_to(written) for path in written.rglob("*") if path.is_file()]
            names.sort(key=lambda name: (str(name) == last) - (str(name) == first))
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(written / name, folder / name)
            for parent in {name.parent for name in names if WEIGHTS.fullmatch(name.name)}:
                for path in (folder / parent).iterdir():
                    if WEIGHTS.fullmatch(path.name) and parent / path.name not in names:
                        path.unlink()
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def settle(folder: Path) -> None:
    """Set the mode of all files of a folder to 0o666 without the bits of the umask, and `fsync` them."""
    umask = os.umask(0)
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~umask)  # safetensors writes with mode 0600
            with open(path, "rb") as file:
                os.fsync(file.fileno())
