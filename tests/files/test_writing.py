import errno
import os
import pickle
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_audio_vae.audio.io import write_audio_blocks
from hf_audio_vae.files import replacing

MEBIBYTE = 1 << 20


def test_name_holds_the_old_file_until_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as hidden:
        hidden.write_text("new")
        assert target.read_text() == "old"
        assert hidden.suffix == ".txt"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as hidden:
        hidden.write_text("half")
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


def test_an_error_in_nested_blocks_is_told_once(tmp_path: Path) -> None:
    message = f"^{tmp_path}/a cannot be written: No space left on device$"
    with pytest.raises(OSError, match=message) as caught, replacing(tmp_path / "a"), replacing(tmp_path / "b"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # is sent between processes


def test_a_symbolic_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("kept")
    (tmp_path / "a").symlink_to(elsewhere)
    with replacing(tmp_path / "a") as hidden:
        hidden.write_text("new")
    assert elsewhere.read_text() == "kept"
    assert not (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_the_umask_decides_the_mode_of_weights(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "a.safetensors") as hidden:
            save_file({"x": torch.ones(3)}, hidden)
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o666 & ~mask
    assert torch.equal(load_file(tmp_path / "a.safetensors")["x"], torch.ones(3))


def test_a_missing_folder_is_an_os_error_that_names_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"absent/a\.txt cannot be written: No such file"),
        replacing(tmp_path / "absent/a.txt"),
    ):
        pass


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let writes beyond `size` bytes of a file fail, as on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_write_that_does_not_fit_is_an_os_error_and_leaves_nothing(tmp_path: Path) -> None:
    for name, write in {
        "a.safetensors": lambda path: save_file({"x": torch.ones(MEBIBYTE)}, path),
        "a.wav": lambda path: write_audio_blocks(path, [torch.zeros(1, MEBIBYTE)], MEBIBYTE, 8000),
        "a.bin": lambda path: path.write_bytes(bytes(MEBIBYTE)),
    }.items():
        with (
            file_size_limit(MEBIBYTE // 2),
            pytest.raises(OSError, match=f"{name} cannot be written"),
            replacing(tmp_path / name) as hidden,
        ):
            write(hidden)
        assert not list(tmp_path.iterdir())


def test_a_device_or_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    for target in (pipe, link):
        message = rf"{target.name} cannot be written: it is a device, a pipe or a socket"
        with pytest.raises(OSError, match=message), replacing(target) as hidden:
            hidden.write_text("new")
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2
