import importlib.util
import itertools
import os
import zipfile
from pathlib import Path

import pytest
import soundfile

from hf_audio_vae.data import CropStream, StreamLoader, load_audio_stream
from hf_audio_vae.data import folders as folders_module
from tests.data.sounds import RATE, encoded

AWKWARD = [
    "whistle.wav",
    "train_horn.wav",
    "test_tone.wav",
    "dev-kit.wav",
    "soul train/rain.wav",
    "test pressing/door.wav",
    "x[1]*?.wav",
    "50%20#1.wav",
    "a::b.wav",
    'it\'s "so".wav',
    "take.2.final.wav",
    " lead.wav",
    "trail.wav ",
    "日本語/é.wav",
    f"{'long' * 50}.wav",
]


def write(folder: Path, names: list[str], content: bytes | None = None) -> Path:
    content = encoded(0.5) if content is None else content
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def streamed(folder: Path, **options: object) -> list[str]:
    stream = load_audio_stream(str(folder), **options)  # type: ignore[arg-type]
    return [os.path.relpath(example["audio"]["path"], folder) for example in stream]


def line(folder: Path, **options: object) -> str:
    lines: list[str] = []
    load_audio_stream(str(folder), announce=lines.append, **options)  # type: ignore[arg-type]
    (only,) = lines
    return only.removeprefix(f"{folder}: ")


@pytest.mark.parametrize("name", ["sounds", "s[1] *?#%41::é .x ", "train", "my test-set"])
def test_a_folder_is_all_of_its_audio_whatever_the_names(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / name, AWKWARD)
    assert streamed(folder) == sorted(AWKWARD)
    assert streamed(folder, keep_columns=True) == sorted(AWKWARD)


def test_a_name_that_is_no_utf8_is_streamed(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    Path(path).write_bytes(encoded(0.5))
    (example,) = load_audio_stream(str(tmp_path))
    assert Path(example["audio"]["path"]).read_bytes() == encoded(0.5)


def test_every_suffix_that_can_be_decoded_counts_in_any_case(tmp_path: Path) -> None:
    names = [f"a.{suffix}" for suffix in ("wav", "WAV", "Flac", "oga", "OPUS", "mp3", "aif", "w64", "caf", "au")]
    assert set(streamed(write(tmp_path, names))) == set(names)


def test_one_line_says_what_is_used_and_what_is_not(tmp_path: Path) -> None:
    write(tmp_path, ["a.wav", "b/c.WAV"], encoded(0.1, seconds=90))
    write(tmp_path, ["cover.jpg", "b/back.JPG", "lyrics.txt", "LICENSE", ".hidden.wav", ".cache/old.wav"], b"")
    assert line(tmp_path) == (
        "2 audio files, 3.0 min; 4 other files left out (.jpg 2, .txt 1, no suffix 1); 1 hidden audio file left out"
    )


def test_hours_are_an_estimate_only_for_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [f"{i}.wav" for i in range(12)], encoded(0.1, seconds=10))
    write(tmp_path, ["broken.wav"], b"not audio")
    assert line(tmp_path) == "13 audio files, 2.0 min, 1 without a readable header"
    monkeypatch.setattr(folders_module, "MAX_HEADERS", 5)
    (tmp_path / "broken.wav").unlink()
    assert line(tmp_path) == "12 audio files, about 2.0 min"


@pytest.mark.skipif(importlib.util.find_spec("torchcodec") is not None, reason="torchcodec is installed")
def test_files_that_need_torchcodec_are_named_with_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, ["a.wav", "b.m4a", "c.M4A", "d.txt"])
    assert line(tmp_path).endswith(
        "3 other files left out (.m4a 2, .txt 1), of which .m4a 2 need FFmpeg and pip install 'hf-audio-vae[m4a]'"
    )
    with pytest.raises(ValueError, match=r"holds no audio that can be read.*hf-audio-vae\[m4a\]"):
        load_audio_stream(str(write(tmp_path / "apple", ["a.m4a"])))


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    folder = write(tmp_path / "sounds", ["a.wav", "in/b.wav"])
    os.mkfifo(folder / "pipe.wav")
    (folder / "gone.wav").symlink_to("nowhere")
    (folder / "loop").symlink_to(folder)
    (folder / "other").symlink_to(write(tmp_path / "other", ["c.wav"]))
    assert streamed(folder) == ["a.wav", "in/b.wav", "other/c.wav"]
    assert "2 other files left out (.wav 2)" in line(folder)


def test_sub_folders_named_like_splits_are_splits_only_if_they_hold_all_audio(tmp_path: Path) -> None:
    folder = write(tmp_path, ["train/a.wav", "train/b.wav", "dev/c.wav", "test/in/d.wav"])
    assert streamed(folder) == ["train/a.wav", "train/b.wav"]
    assert line(folder).endswith("; sub-folders of other splits are not used (dev/ 1, test/ 1)")
    assert streamed(folder, split="validation") == ["dev/c.wav"]
    assert streamed(folder, split="test") == ["test/in/d.wav"]
    assert len(streamed(folder, split="all")) == 4
    write(folder, ["extra/e.wav"])
    assert len(streamed(folder)) == 5
    with pytest.raises(ValueError, match="no split 'test'.* choose a split that it has"):
        load_audio_stream(str(folder), split="test")


def test_folders_at_one_depth_are_labels_if_columns_are_kept(tmp_path: Path) -> None:
    folder = write(tmp_path, ["drum/a.wav", "voice/b.wav"])
    stream = load_audio_stream(str(folder), keep_columns=True)
    assert [stream.features["label"].int2str(example["label"]) for example in stream] == ["drum", "voice"]
    write(folder, ["c.wav"])
    assert load_audio_stream(str(folder), keep_columns=True).column_names == ["audio"]


def test_metadata_beside_the_audio_is_followed_and_named(tmp_path: Path) -> None:
    folder = write(tmp_path, ["train_b.wav", "in/a.wav", "x[1].wav", "unlisted.wav"])
    (folder / "metadata.csv").write_text("file_name,label\nx[1].wav,2\ntrain_b.wav,\ngone.wav,1\n")
    (folder / "in/metadata.csv").write_text("file_name,text\na.wav,None\n")
    rows = list(load_audio_stream(str(folder), keep_columns=True))
    assert [os.path.relpath(row["audio"]["path"], folder) for row in rows] == [
        "in/a.wav",
        "x[1].wav",
        "train_b.wav",
        "gone.wav",
    ]
    assert [row["label"] for row in rows] == [None, 2, None, 1], "whole numbers stay whole numbers with gaps"
    assert [row["text"] for row in rows] == [None] * 4
    assert line(folder).endswith(
        "listed in in/metadata.csv, metadata.csv; 1 audio file not listed there and not used (unlisted.wav); "
        "1 listed file not found (gone.wav)"
    )


def test_rows_that_repeat_a_file_are_counted(tmp_path: Path) -> None:
    folder = write(tmp_path, ["a.wav", "b.wav"])
    (folder / "metadata.csv").write_text("file_name,text\na.wav,x\nb.wav,y\na.wav,z\n")
    assert "2 audio files, " in line(folder)
    assert line(folder).endswith("listed in metadata.csv; 1 row names a file that an earlier row names")
    (folder / "metadata.jsonl").write_text('{"file_name": "b.wav"}\n')
    assert line(folder).endswith("; 2 rows name a file that an earlier row names")
    assert len(streamed(folder)) == 4


def test_metadata_of_a_folder_with_splits_is_that_of_the_split(tmp_path: Path) -> None:
    folder = write(tmp_path, ["train/a.wav", "dev/b.wav"])
    (folder / "metadata.csv").write_text("file_name,label\ntrain/a.wav,1\ndev/b.wav,2\n")
    (row,) = load_audio_stream(str(folder), split="validation", keep_columns=True)
    assert row["label"] == 2


def test_audio_in_archives_is_streamed_whatever_their_names(tmp_path: Path) -> None:
    for name in ("train.zip", "rain.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("a.wav", encoded(0.5))
    assert len(list(load_audio_stream(str(tmp_path)))) == 2


def test_several_file_columns_are_several_audio_columns(tmp_path: Path) -> None:
    folder = write(tmp_path, ["m.wav", "v.wav"])
    (folder / "metadata.jsonl").write_text('{"mix_file_name": "m.wav", "vocals_file_name": "v.wav"}\n')
    assert streamed(folder, audio_column="vocals") == ["v.wav"]
    with pytest.raises(ValueError, match=r"2 audio columns \['mix', 'vocals'\]; name the one to use"):
        load_audio_stream(str(folder))


@pytest.mark.parametrize("name", ["../outside.wav", "/etc/passwd", "file:///etc/passwd"])
def test_metadata_that_names_a_file_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "in", ["a.wav"])
    (folder / "metadata.csv").write_text(f"file_name\n{name}\n")
    with pytest.raises(ValueError, match="not in its folder"):
        load_audio_stream(str(folder))


def test_files_of_a_folder_are_chosen_by_path_or_by_pattern(tmp_path: Path) -> None:
    folder = write(tmp_path, ["x[1].wav", "x1.wav", "speech_a.wav", "in/speech_b.wav"])
    assert streamed(folder, data_files="x[1].wav") == ["x[1].wav"]
    assert streamed(folder, data_files="x[0-9].wav") == ["x1.wav"]
    assert streamed(folder, data_files=["**/speech_*"]) == ["in/speech_b.wav", "speech_a.wav"]
    with pytest.raises(ValueError, match=r"'none\*' matches no file"):
        load_audio_stream(str(folder), data_files="none*")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config_name": "big"}, "no configurations; leave out `dataset_config_name`"),
        ({"revision": "v1"}, "`dataset_revision` is for data sets of the Hub"),
        ({"split": "none"}, "no split 'none'"),
    ],
)
def test_an_option_without_effect_on_a_folder_is_refused(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_audio_stream(str(write(tmp_path, ["a.wav"])), **options)


def test_a_folder_without_audio_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no audio.*2 other files left out \(\.jpg 1, \.txt 1\)"):
        load_audio_stream(str(write(tmp_path, ["a.jpg", "b.txt"], b"")))
    with pytest.raises(ValueError, match="is a file; name its folder"):
        load_audio_stream(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize("name", ["", "parquet"])
def test_a_name_that_names_no_data_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"`dataset_name` is {name!r}; name a data set"):
        load_audio_stream(name)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path) -> None:
    folder = write(tmp_path, ["a.wav", "locked/b.wav"])
    if os.geteuid() == 0:
        pytest.skip("root lists every folder")
    (folder / "locked").chmod(0)
    with pytest.raises(OSError, match="locked"):
        load_audio_stream(str(folder))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_one_file_fills_batches_of_any_size(tmp_path: Path, num_workers: int) -> None:
    source = load_audio_stream(str(write(tmp_path, ["only.wav"])))
    stream = CropStream(source, sampling_rate=RATE, audio_channels=1, crop_length=9, batch_size=5, seed=0)
    batches = itertools.islice(StreamLoader(stream, num_workers=num_workers), 3)
    assert [batch.waveform.mean().item() for batch in batches] == [0.5, 0.5, 0.5]


def test_the_headers_are_those_of_the_files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", [0.0] * 8000, 8000)
    soundfile.write(tmp_path / "b.mp3", [0.0] * 16000, 8000)
    assert line(tmp_path) == "2 audio files, 3.0 s"


@pytest.mark.parametrize(
    "table",
    ["file_name;text\na.wav;x\n", "File,text\na.wav,x\n", "file_name\n1\n"],
    ids=["separator", "column", "numbers"],
)
def test_a_table_of_metadata_that_lists_no_files_is_named(table: str, tmp_path: Path) -> None:
    write(tmp_path, ["a.wav", "b.wav"], encoded(0.1))
    (tmp_path / "metadata.csv").write_text(table)
    assert line(tmp_path).endswith("; no column of texts `file_name` in metadata.csv, which is not used")


def test_a_column_of_a_table_with_the_name_of_its_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(0.1))
    (tmp_path / "metadata.csv").write_text("file_name,audio\na.wav,x\n")
    with pytest.raises(ValueError, match="metadata.csv has the column audio, which is the name of the audio.*rename"):
        load_audio_stream(str(tmp_path))
