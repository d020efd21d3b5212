import shutil
from pathlib import Path

import pytest

from hf_audio_vae.files import listing_checksum, same_listing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data/a").mkdir(parents=True)
    for name in ("1.wav", "a/2.wav"):
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


def test_a_copy_elsewhere_has_the_same_checksum(folder: Path, tmp_path: Path) -> None:
    checksum = listing_checksum(str(folder))
    shutil.copytree(folder, tmp_path / "copy")
    assert listing_checksum(str(tmp_path / "copy")) == checksum
    assert listing_checksum(f"{folder}/a/../") == checksum
    assert listing_checksum(f"{folder}/*.wav") == listing_checksum([f"{tmp_path}/copy/1.wav"])
    (folder / ".lock").touch()
    assert listing_checksum(str(folder)) == checksum


def test_names_and_sizes_count(folder: Path) -> None:
    checksums = {listing_checksum(str(folder))}
    (folder / "1.wav").rename(folder / "3.wav")
    checksums.add(listing_checksum(str(folder)))
    (folder / "3.wav").write_text("longer than before")
    checksums.add(listing_checksum(str(folder)))
    (folder / "4.wav").touch()
    checksums.add(listing_checksum(str(folder)))
    assert len(checksums) == 4


@pytest.mark.parametrize("location", [None, "somebody/dataset", ["train/*.tar"]])
def test_what_is_not_here_has_none(location: str | list[str] | None) -> None:
    assert listing_checksum(location) is None


def test_content_is_not_read(folder: Path) -> None:
    checksum = listing_checksum(str(folder))
    (folder / "1.wav").write_text("other")  # as long as before
    assert listing_checksum(str(folder)) == checksum


@pytest.mark.parametrize("name", ["metadata.csv", "a/list.jsonl", "LIST.TSV.gz", "metadata.parquet"])
def test_the_order_of_a_table_counts(folder: Path, name: str) -> None:
    before = listing_checksum(str(folder))
    (folder / name).write_text("1.wav\n2.wav\n")
    checksum = listing_checksum(str(folder))
    (folder / name).write_text("2.wav\n1.wav\n")
    reordered = listing_checksum(str(folder))
    assert not same_listing(checksum, reordered)
    assert same_listing(checksum.split("-")[0], reordered), "an earlier version had no part for tables"
    assert not same_listing(before, checksum)
