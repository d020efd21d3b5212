import shutil
from pathlib import Path

import pytest

from hf_audio_vae.files import listing_checksum, same_listing
from hf_audio_vae.files.listing import SAMPLED_BYTES


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


@pytest.mark.parametrize("place", [0, SAMPLED_BYTES * 3, SAMPLED_BYTES * 6 - 1])
def test_another_recording_of_equal_size_is_noticed(folder: Path, place: int) -> None:
    content = bytearray(SAMPLED_BYTES * 6)
    (folder / "1.wav").write_bytes(content)
    checksum = listing_checksum(str(folder))
    content[place] = 1
    (folder / "1.wav").write_bytes(content)
    assert not same_listing(listing_checksum(str(folder)), checksum)
    assert same_listing(listing_checksum(str(folder)), checksum.split("-")[0]), "an earlier version read no content"


def test_a_change_between_the_samples_is_not_noticed(folder: Path) -> None:
    content = bytearray(SAMPLED_BYTES * 6)
    (folder / "1.wav").write_bytes(content)
    checksums = [listing_checksum(str(folder), reads_all=reads_all) for reads_all in (False, True)]
    content[SAMPLED_BYTES + 1] = 1
    (folder / "1.wav").write_bytes(content)
    assert listing_checksum(str(folder)) == checksums[0]
    assert listing_checksum(str(folder), reads_all=True) != checksums[1]


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
