"""Exclusive use of a folder by one process."""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hf_audio_vae.files.folders import make_folder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".lock"

logger = logging.getLogger(__name__)
_held: set[Path] = set()  # `lockf` does not exclude its own process, and any `close` of the file drops the lock


@contextmanager
def exclusive(folder: str | Path) -> Iterator[None]:
    """Hold the only lock on a folder until the block ends; create the folder if it does not exist.

    The lock is on the hidden file `.lock`. The system releases it when the process ends, however it ends. Processes
    forked from it do not have the lock. Of the processes of a distributed run, only the main process takes it.

    Args:
        folder (`str` or `Path`): Folder that the block writes into.

    Raises:
        ValueError: Another process holds the lock; the message names it.
        OSError: The folder cannot be created or written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, exclusive(folder):
        ...     print(os.listdir(folder))
        ['.lock']
    """
    file = Path(folder).resolve() / LOCK_FILE
    if file in _held:
        raise ValueError(_in_use(folder, f"{os.getpid()} on {platform.node()}"))
    try:
        make_folder(file.parent)
        descriptor = _locked(file)
    except BlockingIOError:
        raise ValueError(_in_use(folder, _holder(file))) from None
    except OSError as error:
        raise OSError(f"{folder} cannot be written: {error.strerror}") from error
    _held.add(file)
    try:
        yield
    finally:
        _held.remove(file)
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(file: Path) -> int:
    """Return the descriptor of a lock file that this process holds; raise `BlockingIOError` if another one does."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, file)
            if file.exists() and os.path.samestat(os.fstat(descriptor), file.stat()):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()} on {platform.node()}\n".encode())
                return descriptor
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder deleted the file in between


def _lock(descriptor: int, file: Path) -> None:
    try:
        if fcntl is None:
            raise OSError("no locks on this system")
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # EAGAIN or EACCES
        raise BlockingIOError from None
    except OSError as error:
        logger.warning("%s cannot be locked (%s): do not start a second run in this folder", file.parent, error)


def _holder(file: Path) -> str:
    with suppress(OSError):  # deleted just now
        return file.read_text().strip()
    return "unknown"


def _in_use(folder: str | Path, holder: str) -> str:
    return f"{folder} is in use by process {holder}; wait until it ends, or choose another output folder."
