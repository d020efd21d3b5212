"""Samples for validations: of all folders, all lengths and all files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from hf_audio_vae.data import load_audio_stream, spread_sample


def write(path: Path, milliseconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(8 * milliseconds), 8000)


def chosen(folder: Path, count: int) -> list[str]:
    sample = spread_sample(load_audio_stream(str(folder)), count)
    return [str(Path(row["audio"]["path"]).relative_to(folder)) for row in sample]


def test_files_are_of_all_folders_and_lengths(tmp_path: Path) -> None:
    for i in range(30):
        write(tmp_path / f"music/{i:02}.wav", 100 + 10 * i)
    for i in range(2):
        write(tmp_path / f"speech/{i}.wav", 100 + 10 * i)
    names = chosen(tmp_path, 8)
    assert names == [f"music/{i}.wav" for i in ("02", "07", "12", "17", "22", "27")] + ["speech/0.wav", "speech/1.wav"]
    assert chosen(tmp_path, 8) == names
    assert len(chosen(tmp_path, 100)) == 32
    assert len(chosen(tmp_path, 1)) == 1


def test_rows_are_of_all_files_of_a_table(tmp_path: Path) -> None:
    write(tmp_path / "sound.wav", 100)
    sound = (tmp_path / "sound.wav").read_bytes()
    data = tmp_path / "data"
    data.mkdir()
    for shard in "abc":
        rows = [{"bytes": sound, "path": f"{shard}{i}.wav"} for i in range(5)]
        pq.write_table(pa.table({"audio": rows}), data / f"{shard}.parquet")
    sample = spread_sample(load_audio_stream(str(data), audio_column="audio"), 4)
    assert [row["audio"]["path"] for row in sample] == ["a0.wav", "a1.wav", "b0.wav", "c0.wav"]
    assert len(list(spread_sample(load_audio_stream(str(data), audio_column="audio"), 100))) == 15
