import tarfile
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from hf_audio_vae.audio import open_audio
from hf_audio_vae.data import load_audio_stream

REPO = Path(__file__).parents[2]
CLIPS = sorted((REPO / "data/held_out").glob("*.flac"))


def write_parquet(path: Path, column: str = "audio") -> None:
    audio = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    rows = pyarrow.array([{"bytes": clip.read_bytes(), "path": clip.name} for clip in CLIPS], audio)
    pyarrow.parquet.write_table(pyarrow.table({column: rows, "label": list(range(len(CLIPS)))}), path)


def samples_in(stream) -> list[int]:
    counts = []
    for example in stream:
        audio = example["audio"]
        with open_audio(audio["bytes"] if audio["bytes"] is not None else audio["path"]) as reader:
            counts.append(reader.num_samples)
    return counts


@pytest.fixture
def expected() -> list[int]:
    counts = []
    for clip in CLIPS:
        with open_audio(clip) as reader:
            counts.append(reader.num_samples)
    return counts


def test_folder_streams_every_file() -> None:
    stream = load_audio_stream(str(REPO / "data/held_out"))
    files = {path.name for path in (REPO / "data/held_out").iterdir() if path.suffix != ".csv"}
    assert {Path(example["audio"]["path"]).name for example in stream} == files


def test_parquet_files_without_rows_have_no_items(tmp_path: Path, expected: list[int]) -> None:
    audio = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    empty = pyarrow.table({"audio": pyarrow.array([], audio)})
    pyarrow.parquet.write_table(empty, tmp_path / "a.parquet")
    assert samples_in(load_audio_stream(str(tmp_path), audio_column="audio")) == []
    rows = pyarrow.table({"audio": pyarrow.array([{"bytes": CLIPS[0].read_bytes(), "path": None}], audio)})
    with pyarrow.parquet.ParquetWriter(tmp_path / "b.parquet", rows.schema) as writer:
        for table in (empty, rows):
            writer.write_table(table)
    assert samples_in(load_audio_stream(str(tmp_path), audio_column="audio")) == expected[:1]


def test_parquet_streams_the_same_sound(tmp_path: Path, expected: list[int]) -> None:
    write_parquet(tmp_path / "train.parquet")
    stream = load_audio_stream(str(tmp_path), audio_column="audio")
    assert samples_in(stream) == expected


def test_webdataset_streams_the_same_sound(tmp_path: Path, expected: list[int]) -> None:
    with tarfile.open(tmp_path / "train.tar", "w") as tar:
        for clip in CLIPS:
            tar.add(clip, clip.name)
    stream = load_audio_stream(str(tmp_path))
    assert samples_in(stream) == expected


def test_builder_with_files_streams_the_same_sound(tmp_path: Path, expected: list[int]) -> None:
    write_parquet(tmp_path / "some.parquet", column="sound")
    stream = load_audio_stream("parquet", data_files=str(tmp_path / "some.parquet"), audio_column="sound")
    assert stream.column_names == ["audio"]
    assert samples_in(stream) == expected


def test_missing_column_names_those_there_are(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"'music' is not in .*\['audio', 'label'\]"):
        load_audio_stream(str(tmp_path), audio_column="music")


def test_no_audio_column_asks_for_one(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet")  # a plain struct: nothing says that it is audio
    with pytest.raises(ValueError, match="0 audio columns .* name the one to use"):
        load_audio_stream(str(tmp_path))
