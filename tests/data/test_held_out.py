"""Held-out items: the same whatever the order, never trained on, and at least one."""

from pathlib import Path

import pytest
import torch

from hf_audio_vae.audio import write_audio
from hf_audio_vae.data import CropStream, load_audio_stream, split_held_out
from hf_audio_vae.data.clips import item_name


def folder_of(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        write_audio(folder / f"{index:03}.wav", torch.full((1, 80), 0.01), 8000)
    return folder


def split_names(folder: Path, share: float) -> tuple[list[str], list[str]]:
    parts = split_held_out(load_audio_stream(str(folder)), share, str(folder))
    kept, held_out = ([Path(item_name(row["audio"])).name for row in part] for part in parts)
    return kept, held_out


def test_each_file_is_in_one_part_and_their_sizes_are_the_share(tmp_path: Path) -> None:
    kept, held_out = split_names(folder_of(tmp_path / "a", 200), 0.1)
    assert sorted(kept + held_out) == [f"{index:03}.wav" for index in range(200)]
    assert 10 <= len(held_out) <= 30


def test_new_files_and_a_moved_folder_move_no_file_to_the_other_part(tmp_path: Path) -> None:
    kept, held_out = split_names(folder_of(tmp_path / "a", 40), 0.2)
    more_kept, more_held_out = split_names(folder_of(tmp_path / "elsewhere/b", 60), 0.2)
    assert set(kept) <= set(more_kept)
    assert set(held_out) <= set(more_held_out)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_small_folder_has_both_parts(count: int, tmp_path: Path) -> None:
    for share in (0.001, 0.999):
        kept, held_out = split_names(folder_of(tmp_path / f"{share}", count), share)
        assert kept and held_out


def test_one_file_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has one file, so none can be held out; give `validation_dataset_name`"):
        split_names(folder_of(tmp_path / "a", 1), 0.1)


@pytest.mark.parametrize(("shuffle_buffer_size", "world_size"), [(1, 1), (50, 1), (50, 2)])
def test_crops_are_never_of_held_out_files(shuffle_buffer_size: int, world_size: int, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", 30)
    kept, held_out = split_names(folder, 0.2)
    source, _ = split_held_out(load_audio_stream(str(folder)), 0.2, str(folder))
    seen: set[str] = set()
    for rank in range(world_size):
        stream = CropStream(
            source,
            sampling_rate=8000,
            audio_channels=1,
            crop_length=16,
            batch_size=4,
            seed=0,
            shuffle_buffer_size=shuffle_buffer_size,
            rank=rank,
            world_size=world_size,
        )
        batches = iter(stream)
        for _ in range(30):
            seen |= {Path(name).name for name in next(batches).names}
    assert seen == set(kept)
    assert not seen & set(held_out)
