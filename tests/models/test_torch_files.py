import os
import random
from pathlib import Path

import pytest
import torch

from hf_audio_vae.models.torch_files import read_torch_file

CONTENT = {"state_dict": {"a": torch.arange(12.0), "b": torch.arange(5)}, "kwargs": {"x": 1, "y": [1, 2.5, "t"]}}


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 3",)


def mutated(content: bytes, source: random.Random) -> bytes:
    kind, at = source.randrange(3), source.randrange(len(content))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([source.randrange(256)]) + content[at + 1 :]
    return content[:at] + source.randbytes(source.randrange(20)) + content[at + source.randrange(20) :]


def assert_damage_is_refused(folder: Path, count: int) -> None:
    path, source = folder / "file.pt", random.Random(0)
    for is_zip in (False, True):
        torch.save(CONTENT, path, _use_new_zipfile_serialization=is_zip)
        whole, refused = path.read_bytes(), 0
        for _ in range(count):
            path.write_bytes(mutated(whole, source))
            try:
                read_torch_file(path)
            except ValueError as error:
                refused += 1
                assert str(path) in str(error)
                assert "\n" not in str(error)
        assert refused > count / 2


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    assert_damage_is_refused(tmp_path, 150)


@pytest.mark.slow
def test_many_damaged_files_are_one_line(tmp_path: Path) -> None:
    assert_damage_is_refused(tmp_path, 5000)


def test_no_code_of_a_file_runs(tmp_path: Path) -> None:
    torch.save({"state_dict": Command()}, tmp_path / "file.pt")
    with pytest.raises(ValueError, match="can run any code"):
        read_torch_file(tmp_path / "file.pt")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(OSError, match="is a pipe"):
        read_torch_file(tmp_path / "pipe.pt")
    with pytest.raises(OSError, match="none.pt"):
        read_torch_file(tmp_path / "none.pt")
