import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_audio_vae.files import filling
from tests.files.test_writing import file_size_limit


def write(folder: Path, *names: str, value: float) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": torch.full((1 << 10,), value)}, folder / name)


def test_files_replace_those_of_their_names_and_older_weights(tmp_path: Path) -> None:
    write(tmp_path, "model-00001-of-00002.safetensors", "ema/model.safetensors", value=1.0)
    for name in ("notes.txt", "model.safetensors.index.json"):
        (tmp_path / name).touch()
    with filling(tmp_path) as folder:
        assert folder.name == tmp_path.name
        write(folder, "model.safetensors", "vae/model.safetensors", value=2.0)
        assert not (tmp_path / "model.safetensors").exists()
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"model.safetensors", "vae/model.safetensors", "ema/model.safetensors", "notes.txt"}
    assert load_file(tmp_path / "model.safetensors")["x"][0] == 2


def test_a_full_disk_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    write(tmp_path, "model.safetensors", value=1.0)
    with file_size_limit(1 << 11), pytest.raises(OSError, match="cannot be written"), filling(tmp_path) as folder:
        (folder / "config.json").touch()
        write(folder, "model.safetensors", value=2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_file(tmp_path / "model.safetensors")["x"][0] == 1


def test_the_umask_decides_the_mode(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with filling(tmp_path) as folder:
            write(folder, "a/model.safetensors", value=1.0)
    finally:
        os.umask(before)
    assert (tmp_path / "a/model.safetensors").stat().st_mode & 0o777 == 0o640


def test_the_last_file_is_kept_back_until_the_others_are_in_place(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()  # a file cannot be moved there
    with pytest.raises(OSError, match="cannot be written"), filling(tmp_path, last="a") as hidden:
        (hidden / "a").write_text("new")
        (hidden / "b").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_block_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyError), filling(tmp_path) as hidden:
        (hidden / "a").write_text("new")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").symlink_to(outside)
    with filling(folder) as hidden:
        (hidden / "a").write_text("ours")
    assert outside.read_text() == "theirs"
    assert (folder / "a").read_text() == "ours"
    assert not os.path.islink(folder / "a")


def test_a_folder_that_is_a_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file cannot be written"), filling(tmp_path / "file"):
        pass
