from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from hf_audio_vae.audio import read_audio
from hf_audio_vae.data import CropStream, StreamLoader, clip_starts, load_audio_stream
from tests.data.sounds import RATE, encoded

TONE = [0.5, -0.25, 0.125, 0.0]


def table(folder: Path, **columns: Any) -> Path:
    folder.mkdir(exist_ok=True)
    pyarrow.parquet.write_table(pa.table(columns), folder / "rows.parquet")
    return folder


def cells(folder: Path, **options: Any) -> list[Any]:
    return [example["audio"] for example in load_audio_stream(str(folder), **options)]


def samples(cell: dict[str, Any]) -> tuple[torch.Tensor, int]:
    return read_audio(cell["bytes"] if cell["bytes"] is not None else cell["path"])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()], ids=str)
def test_raw_bytes_are_streamed_as_they_are(tmp_path: Path, kind: pa.DataType) -> None:
    folder = table(tmp_path / "rows", sound=pa.array([encoded(0.5), None, b"junk"], kind))
    first, second, third = cells(folder, audio_column="sound")
    assert first == {"bytes": encoded(0.5), "path": None}
    assert second is None
    assert third["bytes"] == b"junk"


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl", "list.parquet"])
def test_paths_as_text_are_relative_to_their_list(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "set [1] #"
    (folder / "clips").mkdir(parents=True)
    for clip in ("a b", "train*"):
        (folder / f"clips/{clip}.wav").write_bytes(encoded(0.5))
    rows = [{"file": "clips/a b.wav"}, {"file": None}, {"file": str(folder / "clips/train*.wav")}]
    if name.endswith("csv"):
        (folder / name).write_text("file,n\n" + "".join(f"{row['file'] or ''},1\n" for row in rows))
    elif name.endswith("tsv"):
        (folder / name).write_text("file\tn\n" + "".join(f"{row['file'] or ''}\t1\n" for row in rows))
    elif name.endswith("jsonl"):
        datasets.Dataset.from_list(rows).to_json(folder / name)
    else:
        datasets.Dataset.from_list(rows).to_parquet(folder / name)
    paths = [cell and cell["path"] for cell in cells(folder, data_files=name, audio_column="file")]
    assert paths == [str(folder / "clips/a b.wav"), None, str(folder / "clips/train*.wav")]


def test_lists_in_several_folders_are_each_relative_to_their_own(tmp_path: Path) -> None:
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "x.csv").write_text("file\nclip.wav\n")
    found = cells(tmp_path, audio_column="file")
    assert [cell["path"] for cell in found] == [str(tmp_path / part / "clip.wav") for part in ("one", "two")]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([TONE]), [TONE]),
        (pa.array([TONE], pa.list_(pa.float32())), [TONE]),
        (pa.array([[round(2**15 * value) for value in TONE]], pa.list_(pa.int16())), [TONE]),
        (pa.array([[TONE, TONE[::-1]]]), [TONE, TONE[::-1]]),
        (pa.array([list(zip(TONE, TONE[::-1], strict=True))]), [TONE, TONE[::-1]]),
    ],
    ids=["float64", "float32", "int16", "channels first", "channels last"],
)
def test_samples_with_a_rate_are_streamed(tmp_path: Path, array: pa.Array, expected: list) -> None:
    column = pa.StructArray.from_arrays([array, pa.array([RATE])], ["array", "sampling_rate"])
    (cell,) = cells(table(tmp_path / "rows", sound=column), audio_column="sound")
    waveform, rate = samples(cell)
    assert rate == RATE
    torch.testing.assert_close(waveform, torch.tensor(expected))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[0.5, 0.25]], "holds lists of float64, which is not audio; choose a column of encoded bytes, of paths"),
        ([3], r"holds int64, which is not audio.*Its columns are 'sound' \(int64\)"),
        ([{"array": [1, 2], "sampling_rate": 8000}], "are int64, whose full scale is unknown"),
        ([{"speaker": 1}], r"holds \{speaker\}, which is not audio"),
    ],
    ids=["no rate", "number", "whole numbers", "struct"],
)
def test_a_column_that_cannot_hold_audio_says_what_it_holds(tmp_path: Path, column: list, message: str) -> None:
    folder = table(tmp_path / "rows", sound=column)
    with pytest.raises(ValueError, match=message):
        load_audio_stream(str(folder), audio_column="sound")


def test_all_columns_are_named_with_their_contents_and_the_option_that_chooses(tmp_path: Path) -> None:
    folder = table(tmp_path / "rows", wav=[encoded(0.5)], caption=["a dog"], id=[1])
    message = r"0 audio columns.*`validation_audio_column`.*'wav' \(bytes\), 'caption' \(text\), 'id' \(int64\)"
    with pytest.raises(ValueError, match=message):
        load_audio_stream(str(folder), option_prefix="validation_")


def test_a_saved_data_set_without_rows_is_named(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_dict({"audio": [{"bytes": encoded(0.5), "path": "a.wav"}]})
    rows.select([]).save_to_disk(tmp_path / "saved")
    with pytest.raises(ValueError, match="saved' holds no rows; save a data set with rows"):
        next(iter(load_audio_stream(str(tmp_path / "saved"))))


@pytest.mark.parametrize("splits", [False, True])
def test_a_folder_from_save_to_disk_is_streamed(tmp_path: Path, splits: bool) -> None:
    rows = datasets.Dataset.from_dict({"audio": [{"bytes": encoded(i / 10), "path": f"{i}.wav"} for i in range(3)]})
    rows = rows.cast_column("audio", datasets.Audio(decode=False))
    (datasets.DatasetDict({"train": rows, "test": rows}) if splits else rows).save_to_disk(tmp_path / "saved")
    assert [cell["path"] for cell in cells(tmp_path / "saved")] == ["0.wav", "1.wav", "2.wav"]
    with pytest.raises(ValueError, match="no split 'dev'; it has train"):
        load_audio_stream(str(tmp_path / "saved"), split="dev")


def test_names_split_tables_only_if_they_split_all_of_them(tmp_path: Path) -> None:
    for name in ("drums.parquet", "train_songs.parquet"):
        pyarrow.parquet.write_table(pa.table({"a": [encoded(0.5)]}), tmp_path / name)
    assert len(cells(tmp_path, audio_column="a")) == 2
    (tmp_path / "drums.parquet").rename(tmp_path / "test_drums.parquet")
    assert len(cells(tmp_path, audio_column="a")) == 1
    lines: list[str] = []
    load_audio_stream(str(tmp_path), audio_column="a", split="test", announce=lines.append)
    assert lines == [f"{tmp_path}: 1 parquet file, split 'test' of test, train"]


def test_a_parquet_file_that_breaks_off_is_named_before_the_first_row(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        pyarrow.parquet.write_table(pa.table({"a": [encoded(0.5)]}), tmp_path / name)
    whole = (tmp_path / "b.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"b\.parquet is not a complete parquet file"):
        load_audio_stream(str(tmp_path), audio_column="a")


def test_configurations_of_a_card_are_followed_and_named(tmp_path: Path) -> None:
    table(tmp_path / "parts", sound=[encoded(0.5)])
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: small\n  data_files:\n  - split: odd\n    path: parts/*.parquet\n---\n"
    )
    lines: list[str] = []
    load_audio_stream(str(tmp_path), audio_column="sound", split="odd", announce=lines.append)
    assert lines == [f"{tmp_path}: 1 file, split 'odd' of odd, configuration 'small'"]
    with pytest.raises(ValueError, match="'odd'"):
        load_audio_stream(str(tmp_path), audio_column="sound")


def test_audio_beside_tables_is_the_data_set_if_there_is_more_of_it(tmp_path: Path) -> None:
    table(tmp_path, sound=[encoded(0.5)] * 3)
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(encoded(0.5))
    assert len(cells(tmp_path)) == 2
    (tmp_path / "b.wav").unlink()
    assert len(cells(tmp_path, audio_column="sound")) == 3


def test_null_and_unreadable_cells_are_skipped_and_counted_in_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    column = [encoded(0.25), None, b"junk", encoded(0.5), None]
    stream = load_audio_stream(str(table(tmp_path / "rows", sound=column)), audio_column="sound")
    crops = CropStream(
        stream,
        sampling_rate=RATE,
        audio_channels=1,
        crop_length=10,
        batch_size=1,
        seed=0,
        shuffle_buffer_size=1,
        max_bad_share=1.0,
    )
    loader = StreamLoader(crops)
    values = [batch.waveform[0, 0, 0].item() for batch, _ in zip(loader, range(3), strict=False)]
    assert values == [0.25, 0.5, 0.25]
    assert len(loader.skipped) == 2, "rows without audio have one name"
    assert "4 items could not be used" not in caplog.text
    assert "3 items could not be used in 1 epochs" in caplog.text
    assert caplog.text.count("row without audio") == 1


def test_null_and_unreadable_cells_of_a_validation_set_are_refused_or_collected(tmp_path: Path) -> None:
    folder = table(tmp_path / "rows", sound=[encoded(0.25), None, b"junk"])
    target = {"sampling_rate": RATE, "audio_channels": 1, "max_seconds": 1.0}
    with pytest.raises(ValueError, match="row 1 without audio"):
        list(clip_starts(load_audio_stream(str(folder), audio_column="sound"), **target))
    skipped: dict[str, str] = {}
    clips = list(clip_starts(load_audio_stream(str(folder), audio_column="sound"), **target, skipped=skipped))
    assert len(clips) == 1
    assert [reason.split(" (")[0] for reason in skipped.values()] == [
        "it has neither bytes nor a path.",
        "the audio cannot be decoded",
    ]


@pytest.mark.parametrize("keep_columns", [False, True])
def test_other_audio_columns_are_not_decoded(keep_columns: bool, tmp_path: Path) -> None:
    sound = {"bytes": encoded(0.5), "path": None}
    audio = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = pa.table(
        {name: pa.array([value], audio) for name, value in (("mix", sound), ("voice", {"bytes": b"junk"}))}
    )
    features = datasets.Features({"mix": datasets.Audio(), "voice": datasets.Audio()})
    pyarrow.parquet.write_table(rows.cast(features.arrow_schema), tmp_path / "rows.parquet")
    (row,) = load_audio_stream(str(tmp_path), audio_column="mix", keep_columns=keep_columns)
    assert row == {"audio": sound} | ({"voice": {"bytes": b"junk", "path": None}} if keep_columns else {})


def test_whole_numbers_in_a_column_of_fractions_are_refused(tmp_path: Path) -> None:
    folder = table(tmp_path / "rows", a=[{"array": [12000.0, -3.0] * 50, "sampling_rate": RATE}])
    stream = load_audio_stream(str(folder), audio_column="a")
    with pytest.raises(ValueError, match="its peak is 12000, and full scale is 1; divide 16-bit samples by 32768"):
        list(clip_starts(stream, sampling_rate=RATE, audio_channels=1, max_seconds=1.0))


def test_a_column_that_takes_the_name_of_another_is_refused_if_both_are_kept(tmp_path: Path) -> None:
    folder = table(tmp_path / "rows", audio=[encoded(0.25)], voice=[encoded(0.5)])
    assert cells(folder, audio_column="voice") == [{"bytes": encoded(0.5), "path": None}]
    with pytest.raises(ValueError, match="a column 'audio' beside the `audio_column` 'voice', .* or remove it"):
        load_audio_stream(str(folder), audio_column="voice", keep_columns=True)
