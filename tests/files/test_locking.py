import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hf_audio_vae.files import exclusive


@contextmanager
def held_elsewhere(folder: Path) -> Iterator[int]:
    """Another process that holds the lock until it is killed; yields its id."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        with exclusive(folder):
            os.write(writing, b"x")
            signal.pause()
    assert os.read(reading, 1) == b"x"
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_second_process_is_refused_with_the_name_of_the_first(tmp_path: Path) -> None:
    with (
        held_elsewhere(tmp_path) as child,
        pytest.raises(ValueError, match=f"in use by process {child} on .*; wait until it ends, or choose another"),
        exclusive(tmp_path),
    ):
        pass


def test_the_same_process_is_refused_and_keeps_its_lock(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        with pytest.raises(ValueError, match=f"in use by process {os.getpid()}"), exclusive(tmp_path / "x/.."):
            pass
        if (child := os.fork()) == 0:
            with pytest.raises(ValueError, match="in use"):
                from hf_audio_vae.files import locking

                locking._held.clear()  # as in a process that was not forked
                with exclusive(tmp_path):
                    pass
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_a_killed_process_has_no_lock_although_its_children_live(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    if (holder := os.fork()) == 0:
        with exclusive(tmp_path):
            worker = os.fork()
            if worker:
                os.write(writing, str(worker).encode())
            signal.pause()
    worker = int(os.read(reading, 20))
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    try:
        with exclusive(tmp_path):
            os.kill(worker, 0)  # is alive
    finally:
        os.kill(worker, signal.SIGKILL)


def test_a_folder_is_created_and_left_empty(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a/b"):
        assert stat.S_ISREG((tmp_path / "a/b/.lock").stat().st_mode)
    assert not any((tmp_path / "a/b").iterdir())


def test_what_is_not_a_folder_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(OSError, match=f"{folder} cannot be written"), exclusive(folder):
            pass


def test_a_folder_of_another_user_is_an_error_with_its_name(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if (child := os.fork()) == 0:
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            with exclusive(tmp_path):
                pass
        except OSError as error:
            os._exit(0 if f"{tmp_path} cannot be written: Permission denied" in str(error) else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
