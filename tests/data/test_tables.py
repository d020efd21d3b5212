"""Files of rows whose columns differ, and CSV files of all kinds."""

import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hf_audio_vae.data import load_audio_stream
from hf_audio_vae.data.tables import read_delimited
from tests.data.sounds import encoded

SUFFIXES = ("parquet", "arrow", "csv", "tsv", "jsonl")


def write(path: Path, rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".arrow":
        with pa.ipc.new_stream(str(path), table.schema) as file:
            file.write_table(table)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        separator = "," if path.suffix == ".csv" else "\t"
        lines = [separator.join(rows[0]), *(separator.join(map(str, row.values())) for row in rows)]
        path.write_text("\n".join(lines) + "\n")


def read(folder: Path) -> list[dict]:
    return list(load_audio_stream(str(folder), audio_column="file", keep_columns=True))


@pytest.mark.parametrize("rows", [3, 30], ids=["few rows", "many rows"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_of_different_columns_are_named_in_one_line(suffix: str, rows: int, tmp_path: Path) -> None:
    write(tmp_path / f"a.{suffix}", [{"file": f"{i}.wav", "text": "x"} for i in range(rows)])
    write(tmp_path / f"b.{suffix}", [{"file": f"{i}.wav", "caption": "x"} for i in range(rows)])
    with pytest.raises(ValueError, match=rf"b\.{suffix}.*caption") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [3, 30], ids=["few rows", "many rows"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_of_different_types_are_named_in_one_line(suffix: str, rows: int, tmp_path: Path) -> None:
    write(tmp_path / f"a.{suffix}", [{"file": f"{i}.wav", "n": i} for i in range(rows)])
    write(tmp_path / f"b.{suffix}", [{"file": f"{i}.wav", "n": "x"} for i in range(rows)])
    with pytest.raises(ValueError, match=rf"b\.{suffix}") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_columns_in_another_order_are_the_same_and_missing_ones_are_gaps(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / f"a.{suffix}", [{"file": "a.wav", "n": 1, "text": "x"}])
    write(tmp_path / f"b.{suffix}", [{"n": 2, "file": "b.wav"}])
    assert [(Path(row["audio"]["path"]).name, row["n"], row["text"]) for row in read(tmp_path)] == [
        ("a.wav", 1, "x"),
        ("b.wav", 2, None),
    ]


def test_the_types_of_a_csv_column_are_those_of_all_rows(tmp_path: Path) -> None:
    late = ["" if i < 40 else "dog" for i in range(50)], [3 if i < 40 else 1.5 for i in range(50)]
    lines = [f"{i}.wav,{text},{number}" for i, (text, number) in enumerate(zip(*late, strict=True))]
    (tmp_path / "a.csv").write_text("\n".join(["file,text,n", *lines]))
    (tmp_path / "b.csv").write_text("file,text,n\nb.wav,cat,7")
    found = read(tmp_path)
    assert [row["text"] for row in found] == [text or None for text in late[0]] + ["cat"]
    assert [row["n"] for row in found] == [*late[1], 7]


def test_words_for_nothing_are_names_in_texts_and_gaps_in_numbers(tmp_path: Path) -> None:
    words = ["NA", "N/A", "None", "null", "nan", "NaN", "<NA>"]
    lines = [*(f"{word}.wav,{word},{word}" for word in words), "drum.wav,drum,3", "x.wav,,4"]
    (tmp_path / "a.csv").write_text("\n".join(["file,class,n", *lines]))
    found = read(tmp_path)
    assert [row["class"] for row in found] == [*words, "drum", None]
    assert [row["n"] for row in found] == [*[None] * len(words), 3, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,text\na.wav,x,y\n", "x.csv cannot be read: .*Expected 2 columns, got 3"),
        ("file,text\na.wav,caf\u00e9\n".encode("latin-1"), "x.csv is not UTF-8 in the column text; convert"),
        (
            "file,text\na.wav,x\n".encode("utf-16"),
            "x.csv has null bytes, as files in UTF-16 have; convert it to UTF-8",
        ),
        ("file,text\na.wav,x\n".encode("utf-16-le"), "x.csv has null bytes"),
        (b"file,text,text\na.wav,x,y\n", "x.csv has the column text twice; rename one"),
        (b'file,text\na.wav,"dog\nb.wav,cat\n', "x.csv has a quotation mark in line 2 that is not closed at the end"),
        (b'file,text\na.wav,"dog\nb.wav,"cat\n', "x.csv has a quotation mark in line 2"),
        (b'file,text\na.wav,x\nb.wav,"a \\"big\\" dog"\n', "x.csv has a quotation mark in line 3"),
        (b"", "x.csv cannot be read: Empty CSV file"),
    ],
    ids=[
        "too many cells",
        "Latin 1",
        "UTF-16",
        "UTF-16 without mark",
        "column twice",
        "open quote",
        "two open quotes",
        "escaped quotes",
        "empty",
    ],
)
@pytest.mark.parametrize("metadata", [False, True], ids=["list", "metadata.csv"])
def test_a_csv_file_that_would_be_misread_is_named(
    content: bytes, message: str, metadata: bool, tmp_path: Path
) -> None:
    if metadata:  # beside audio
        (tmp_path / "a.wav").write_bytes(encoded(0.1))
        content, message = content.replace(b"file", b"file_name"), message.replace("x.csv", "metadata.csv")
    (tmp_path / ("metadata.csv" if metadata else "x.csv")).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["x.jsonl", "x.json.gz", "metadata.jsonl"])
def test_a_json_file_in_another_encoding_is_named_with_it(name: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(0.1))
    write(tmp_path / "x.jsonl", [{"file_name" if name == "metadata.jsonl" else "file": "a.wav"}])
    content = (tmp_path / "x.jsonl").read_text().encode(encoding)
    (tmp_path / "x.jsonl").unlink()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    if name != "metadata.jsonl":
        (tmp_path / "a.wav").unlink()
    with pytest.raises(ValueError, match=f"{name} has null bytes, as files in UTF-16 have; convert it to UTF-8"):
        read(tmp_path)


def test_quoted_cells_hold_separators_line_ends_and_doubled_quotes(tmp_path: Path) -> None:
    text = b'\xef\xbb\xbf"file","text"\r\n"a.wav","a ""big"", old\r\ndog"\r\nb.wav,5" pipe\r\nc.wav,""\r\n"d.wav",""""'
    (tmp_path / "x.csv").write_bytes(text)
    assert [row["text"] for row in read(tmp_path)] == ['a "big", old\r\ndog', '5" pipe', None, '"']


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressed_csv_files_are_read(suffix: str, compress: object, tmp_path: Path) -> None:
    (tmp_path / f"x.csv{suffix}").write_bytes(compress(b"file,n\na.wav,1\n"))  # type: ignore[operator]
    (row,) = read(tmp_path)
    assert row["n"] == 1


def test_numbers_with_leading_zeros_are_names(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("label,count,share,other\n007,7,0.5,\n7,0,1.5,00\n,-1,2,1\n")
    table = read_delimited(path)
    assert table["label"].to_pylist() == ["007", "7", None]
    assert table["count"].to_pylist() == [7, 0, -1]
    assert table["share"].to_pylist() == [0.5, 1.5, 2.0]
    assert table["other"].to_pylist() == [None, "00", "1"]
