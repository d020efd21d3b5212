import os
from pathlib import Path

import pytest

from hf_audio_vae.files import adding_to


def test_files_appear_when_all_of_them_are_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with adding_to(tmp_path) as hidden:
        (hidden / "a").write_text("new")
        (hidden / "b").write_text("new")
        assert (tmp_path / "a").read_text() == "old"
        assert not (tmp_path / "b").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() == "new"


def test_the_last_file_is_kept_back_until_the_others_are_in_place(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()  # a file cannot be moved there
    with pytest.raises(OSError, match="cannot be written"), adding_to(tmp_path, last="a") as hidden:
        (hidden / "a").write_text("new")
        (hidden / "b").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_block_that_fails_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyError), adding_to(tmp_path) as hidden:
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
    with adding_to(folder) as hidden:
        (hidden / "a").write_text("ours")
    assert outside.read_text() == "theirs"
    assert (folder / "a").read_text() == "ours"
    assert not os.path.islink(folder / "a")


def test_a_folder_that_is_a_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file cannot be written"), adding_to(tmp_path / "file"):
        pass
