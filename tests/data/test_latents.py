import datetime
import itertools
from decimal import Decimal
from pathlib import Path

import datasets
import pytest
import torch

from hf_audio_vae.data import LatentBatch, LatentStream, StreamLoader, TooManyBadItemsError, load_latent_stream
from hf_audio_vae.data.latents import class_names
from tests.data.latent_data import CHANNELS, write_latents

LENGTHS = [7, 30, 100, 12, 20, 55]
KINDS = {"kind": (datasets.Value("string"), ["drum", "voice", "drum", "note", "voice", "note"])}
TEXTS = {"text": (datasets.Value("string"), [f"sound number {i}" for i in range(6)])}


def stream_of(folder: Path, **options) -> LatentStream:
    defaults = {"frame_rate": 100.0, "segment_frames": 20, "batch_size": 6, "seed": 1, "shuffle_buffer_size": 3}
    return LatentStream(load_latent_stream(str(folder)), **(defaults | options))


def read(stream: LatentStream, batches: int) -> list[LatentBatch]:
    return list(itertools.islice(StreamLoader(stream), batches))


def rows_of(batch: LatentBatch) -> list[int]:
    return [round(mean[0, 0].item()) // 1000 for mean in batch.mean]


def test_a_crop_is_a_stretch_of_its_row_and_a_short_row_is_whole(tmp_path: Path) -> None:
    for batch in read(stream_of(write_latents(tmp_path / "latents", LENGTHS)), 20):
        assert batch.mean.shape == batch.std.shape == (6, CHANNELS, 20)
        for row, mean, std, mask in zip(rows_of(batch), batch.mean, batch.std, batch.mask, strict=True):
            frames = min(LENGTHS[row], 20)
            assert mask.tolist() == frames * [True] + (20 - frames) * [False]
            start = mean[0, 0]
            assert torch.equal(mean[:, :frames], (start + torch.arange(frames)).expand(CHANNELS, -1))
            assert 0 <= start - 1000 * row <= LENGTHS[row] - frames
            assert not mean[:, frames:].any()
            assert torch.equal(std[:, :frames], torch.full((CHANNELS, frames), 0.5))


def test_every_start_that_fits_is_drawn(tmp_path: Path) -> None:
    stream = stream_of(write_latents(tmp_path / "latents", [22]), batch_size=1)
    assert {round(batch.mean[0, 0, 0].item()) for batch in read(stream, 40)} == {0, 1, 2}


@pytest.mark.slow
def test_crops_lie_everywhere_in_a_long_row(tmp_path: Path) -> None:
    stream = stream_of(write_latents(tmp_path / "latents", [100]), batch_size=1)
    starts = {round(batch.mean[0, 0, 0].item()) for batch in read(stream, 600)}
    assert {0, 80} <= starts, "the first and the last place that fit"
    assert len(starts) > 70


def test_a_batch_is_as_long_as_its_longest_item(tmp_path: Path) -> None:
    (batch,) = read(stream_of(write_latents(tmp_path / "latents", [3, 5, 4]), batch_size=3), 1)
    assert batch.mean.shape == (3, CHANNELS, 5)
    assert sorted(batch.durations.tolist()) == pytest.approx([0.03, 0.04, 0.05])
    assert batch.seconds == pytest.approx(0.12)


def test_classes_and_texts_stay_with_their_latents(tmp_path: Path) -> None:
    folder = write_latents(tmp_path / "latents", LENGTHS, KINDS | TEXTS)
    names = class_names(load_latent_stream(str(folder)), "kind")
    assert names == ("drum", "note", "voice")
    stream = stream_of(folder, label_column="kind", class_names=names, text_column="text")
    for batch in read(stream, 3):
        for row, label, prompt in zip(rows_of(batch), batch.class_labels, batch.prompts, strict=True):
            assert names[label] == KINDS["kind"][1][row]
            assert prompt == f"sound number {row}"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("date32", [datetime.date(2020, 1, day) for day in range(1, 7)]),
        ("timestamp[s]", [datetime.datetime(2020, 1, day) for day in range(1, 7)]),
        ("time64[us]", [datetime.time(hour) for hour in range(1, 7)]),
        ("decimal128(5, 2)", [Decimal(value) for value in range(1, 7)]),
    ],
)
def test_a_column_of_a_type_that_torch_lacks_is_one_of_texts(kind: str, values: list, tmp_path: Path) -> None:
    folder = write_latents(tmp_path / "latents", LENGTHS, KINDS | {"when": (datasets.Value(kind), values)})
    (batch,) = read(stream_of(folder, label_column="kind", class_names=("drum", "note", "voice")), 1)
    assert len(batch.class_labels) == 6, "a column that is not used does not matter"
    names = class_names(load_latent_stream(str(folder)), "when")
    assert len(names) == 6
    assert names[0].startswith(str(values[0]))
    (batch,) = read(stream_of(folder, label_column="when", class_names=names), 1)
    assert batch.class_labels.tolist() == rows_of(batch)


@pytest.mark.parametrize(
    ("feature", "values", "expected"),
    [
        (datasets.ClassLabel(names=["b", "a", "never"]), [0, 1, 1], ("b", "a", "never")),
        (datasets.Value("int64"), [7, 3, 7], ("3", "7")),
    ],
)
def test_numbered_classes_have_names(tmp_path: Path, feature: object, values: list, expected: tuple) -> None:
    folder = write_latents(tmp_path / "latents", [5, 5, 5], {"label": (feature, values)})
    names = class_names(load_latent_stream(str(folder)), "label")
    assert names == expected
    (batch,) = read(stream_of(folder, label_column="label", class_names=names, batch_size=3), 1)
    told = [names[label] for label in batch.class_labels]
    by_row = ["b", "a", "a"] if "b" in expected else ["7", "3", "7"]
    assert told == [by_row[row] for row in rows_of(batch)]


def test_held_out_classes_that_are_numbered_otherwise_keep_their_names(tmp_path: Path) -> None:
    others = {"label": (datasets.ClassLabel(names=["snare", "tom"]), [0, 1])}
    folder = write_latents(tmp_path / "latents", [5, 5], others)
    stream = stream_of(folder, label_column="label", class_names=("kick", "snare", "tom"), batch_size=2)
    (batch,) = read(stream, 1)
    assert [batch.class_labels[rows_of(batch).index(row)] for row in (0, 1)] == [1, 2]


def test_a_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = write_latents(tmp_path / "latents", [5])
    with pytest.raises(ValueError, match="`text_column` 'txt' is not a column of the data set"):
        stream_of(folder, text_column="txt")
    with pytest.raises(ValueError, match="'kind' is not a column of held-out; its columns are.*'mean'"):
        class_names(load_latent_stream(str(folder)), "kind", dataset_name="held-out")


def test_an_item_of_an_unknown_class_is_named(tmp_path: Path) -> None:
    folder = write_latents(tmp_path / "latents", [5], {"kind": (datasets.Value("string"), ["b"])})
    stream = stream_of(folder, label_column="kind", class_names=("a",), batch_size=1)
    with pytest.raises(TooManyBadItemsError, match=r"`kind` is 'b', none of \['a'\]"):
        read(stream, 1)


@pytest.mark.parametrize(
    ("feature", "values", "names"),
    [
        (datasets.Value("string"), ["b", None, "a", ""], ("a", "b")),
        (datasets.Value("int64"), [2, None, 1, None], ("1", "2")),
        (datasets.Value("float64"), [2.0, float("nan"), 1.0, None], ("1", "2")),
        (datasets.Value("float32"), [2.0, None, 0.5, None], ("0.5", "2")),
        (datasets.Value("bool"), [True, None, False, None], ("False", "True")),
        (datasets.ClassLabel(names=["a", "b"]), [1, None, 0, -1], ("a", "b")),
    ],
    ids=str,
)
def test_an_item_without_a_class_trains_without_one_and_numbers_stay_what_they_are(
    tmp_path: Path, feature: object, values: list, names: tuple[str, ...]
) -> None:
    folder = write_latents(tmp_path / "latents", [5] * 4, {"label": (feature, values)})
    assert class_names(load_latent_stream(str(folder)), "label") == names
    (batch,) = read(stream_of(folder, label_column="label", class_names=names, batch_size=4), 1)
    by_row = dict(zip(rows_of(batch), batch.class_labels.tolist(), strict=True))
    assert by_row == {0: 1, 1: -1, 2: 0, 3: -1}


def test_bytes_are_read_as_texts(tmp_path: Path) -> None:
    binary = datasets.Value("binary")
    columns = {"label": (binary, [b"dog", "\u00e9t\u00e9".encode()]), "text": (binary, [b"a dog", b""])}
    folder = write_latents(tmp_path / "latents", [5, 5], columns)
    names = class_names(load_latent_stream(str(folder)), "label")
    assert names == ("dog", "\u00e9t\u00e9")
    stream = stream_of(folder, label_column="label", class_names=names, text_column="text", batch_size=2)
    (batch,) = read(stream, 1)
    by_row = {
        row: (int(label), text)
        for row, label, text in zip(rows_of(batch), batch.class_labels, batch.prompts, strict=True)
    }
    assert by_row == {0: (0, "a dog"), 1: (1, "")}


@pytest.mark.parametrize(
    ("feature", "value", "message"),
    [
        (
            datasets.Value("binary"),
            "\u00e9".encode("latin-1"),
            "'label' of the data set: b'\\\\xe9' is not text in UTF-8",
        ),
        (
            datasets.List(datasets.Value("string")),
            ["dog", "cat"],
            "holds values of type List.*; name a column of texts",
        ),
        ({"id": datasets.Value("int64")}, {"id": 3}, "holds values of type .*; name a column of texts"),
    ],
)
def test_labels_that_are_no_texts_or_numbers_are_refused(
    tmp_path: Path, feature: object, value: object, message: str
) -> None:
    folder = write_latents(tmp_path / "latents", [5], {"label": (feature, [value])})
    with pytest.raises(ValueError, match=message):
        class_names(load_latent_stream(str(folder)), "label")


def test_the_number_of_items_without_a_class_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_latents(tmp_path / "latents", [5] * 3, {"label": (datasets.Value("string"), [None, "a", None])})
    with caplog.at_level("INFO"):
        class_names(load_latent_stream(str(folder)), "label")
    assert "2 of 3 rows have no `label` and train without a class" in caplog.text
    folder = write_latents(tmp_path / "none", [5], {"label": (datasets.Value("string"), [None])})
    with pytest.raises(ValueError, match="'label' of the data set holds no classes; leave the option out"):
        class_names(load_latent_stream(str(folder)), "label")


@pytest.mark.parametrize(
    ("feature", "values"), [(datasets.Value("string"), [None, ""]), (datasets.Value("float64"), [None, float("nan")])]
)
def test_an_item_without_a_text_trains_without_one(tmp_path: Path, feature: object, values: list) -> None:
    folder = write_latents(tmp_path / "latents", [5, 5], {"text": (feature, values)})
    (batch,) = read(stream_of(folder, text_column="text", batch_size=2), 1)
    assert batch.prompts == ["", ""]


def test_a_text_that_is_a_number_is_named(tmp_path: Path) -> None:
    folder = write_latents(tmp_path / "latents", [5], {"text": (datasets.Value("int64"), [3])})
    with pytest.raises(TooManyBadItemsError, match="which is not a string"):
        read(stream_of(folder, text_column="text", batch_size=1), 1)


def test_latents_in_a_folder_of_any_name_are_streamed(tmp_path: Path) -> None:
    folder = write_latents(tmp_path / "test [1] #*", [5, 5])
    assert len(list(load_latent_stream(str(folder)))) == 2
    (folder / "data/train-00000-000000.parquet").unlink()
    with pytest.raises(ValueError, match="holds no parquet files; it holds"):
        load_latent_stream(str(folder))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resume_continues_at_the_next_batch(tmp_path: Path, num_workers: int) -> None:
    folder = write_latents(tmp_path / "latents", LENGTHS)
    straight = [b.mean for b in itertools.islice(StreamLoader(stream_of(folder), num_workers=num_workers), 9)]
    first = StreamLoader(stream_of(folder), num_workers=num_workers)
    list(itertools.islice(first, 4))
    second = StreamLoader(stream_of(folder), num_workers=num_workers)
    second.load_state_dict(first.state_dict())
    rest = [batch.mean for batch in itertools.islice(second, 5)]
    assert all(torch.equal(a, b) for a, b in zip(straight[4:], rest, strict=True))
