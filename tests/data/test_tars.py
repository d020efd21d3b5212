import io
import tarfile
from pathlib import Path

import pytest

from hf_audio_vae.data import load_audio_stream, tars
from tests.data.sounds import encoded


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def sound(value: int) -> bytes:
    return encoded(value / 100)


def rows(folder: Path, **options: object) -> list[dict]:
    return list(load_audio_stream(str(folder), keep_columns=True, **options))  # type: ignore[arg-type]


def test_members_of_one_name_are_a_sample(tmp_path: Path) -> None:
    members = {"a.flac": sound(1), "a.txt": b"one", "a.json": b'{"n": 1}', "a.cls": b"3", "b.flac": sound(2)}
    write_tar(tmp_path / "x.tar", members | {"README": b"", "._b.flac": b""})
    first, second = rows(tmp_path)
    assert first["audio"] == {"bytes": sound(1), "path": "a.flac"}
    assert (first["txt"], first["json"], first["cls"]) == ("one", {"n": 1}, 3)
    assert second["audio"]["bytes"] == sound(2)
    assert (second["txt"], second["cls"]) == (None, None)


def test_several_stems_are_several_columns(tmp_path: Path) -> None:
    members = {f"{i}.{stem}.wav": sound(10 * i + j) for i in range(3) for j, stem in enumerate(("bass", "mix"))}
    write_tar(tmp_path / "x.tar", members)
    with pytest.raises(ValueError, match=r"2 audio columns \['bass.wav', 'mix.wav'\]; name the one to use"):
        load_audio_stream(str(tmp_path))
    assert [row["audio"]["bytes"] for row in rows(tmp_path, audio_column="mix.wav")] == [
        sound(1),
        sound(11),
        sound(21),
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["01. Intro.flac", "02. Outro.flac", "03 - no point.flac"],
        ["a.wav", "b.flac", "c.OGG"],
        ["v1.2/take.1.wav", "v1.2/take.2.wav", "v1.2/other.7.wav"],
    ],
    ids=["points", "formats", "takes"],
)
def test_no_audio_is_lost_whatever_the_names(tmp_path: Path, names: list[str]) -> None:
    write_tar(tmp_path / "x.tar", {name: sound(i) for i, name in enumerate(names)})
    assert [row["audio"]["path"] for row in rows(tmp_path)] == names
    assert [row["audio"]["bytes"] for row in rows(tmp_path)] == [sound(0), sound(1), sound(2)]


def test_a_sample_without_audio_is_a_gap(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {"a.txt": b"orphan", "b.wav": sound(1), "b.txt": b"b", "c.wav": sound(2)})
    assert [row["audio"] and row["audio"]["path"] for row in rows(tmp_path)] == [None, "b.wav", "c.wav"]
    assert [row["txt"] for row in rows(tmp_path)] == ["orphan", "b", None]


def test_no_column_is_lost_however_late_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "JSON_BATCH", 2)
    members = {f"{i:03}.wav": sound(1) for i in range(150)} | {"150.wav": sound(1), "150.txt": b"late"}
    write_tar(tmp_path / "a.tar", members | {"151.wav": sound(1), "151.json": b'{"n": 1}'})
    late = {f"{i}.json": value for i, value in enumerate((b'{"n": 2}', b'{"n": 3}', b'{"n": 2.5, "m": "x"}', b"no"))}
    write_tar(tmp_path / "b.tar", {"x.wav": sound(1), "x.cls": b"7"} | late)
    found = rows(tmp_path)
    assert [row["txt"] for row in found if row["txt"]] == ["late"]
    assert [row["cls"] for row in found if row["cls"]] == [7]
    assert [row["json"] for row in found if row["json"]] == [
        {"n": 1, "m": None},
        {"n": 2, "m": None},
        {"n": 3, "m": None},
        {"n": 2.5, "m": "x"},
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((b"3", b" -7\n", b""), [3, -7, None]),
        ((b"3", b"dog\n", b"chat"), ["3", "dog", "chat"]),
        ((b"3", b"9223372036854775807", b"9223372036854775808"), ["3", f"{2**63 - 1}", f"{2**63}"]),
        ((b"3", b"1.5", "caf\u00e9".encode()), ["3", "1.5", "caf\u00e9"]),
    ],
    ids=["numbers", "texts", "beyond int64", "fractions"],
)
def test_labels_are_numbers_or_texts_and_none_is_lost(labels: tuple, expected: list, tmp_path: Path) -> None:
    for i, label in enumerate(labels):  # each in its own tar: the last one may decide
        write_tar(tmp_path / f"{i}.tar", {f"{i}.wav": sound(i), f"{i}.cls": label})
    assert [row["cls"] for row in rows(tmp_path)] == expected


def test_members_that_are_not_used_or_cannot_be_decoded_are_counted(tmp_path: Path) -> None:
    members = {"a.wav": sound(1), "a.json": b"no", "a.txt": b"caf\xe9", "a.cls": b"\xff"}
    write_tar(tmp_path / "x.tar", members | {"._a.wav": b"", ".b.wav": sound(2), "README": b""})
    lines: list[str] = []
    (row,) = rows(tmp_path, announce=lines.append)
    assert (row["json"], row["txt"], row["cls"]) == (None, None, None)
    assert lines[0].endswith(
        "; 3 other members left out (.wav 2, no suffix 1); "
        "3 members without a value, since not UTF-8 or not JSON (a.json, a.txt, a.cls)"
    )


def test_no_audio_is_lost_if_tars_have_different_formats(tmp_path: Path) -> None:
    for name, suffix in (("a.tar", "wav"), ("b.tar", "flac")):
        write_tar(tmp_path / name, {f"{i}.{suffix}": sound(i) for i in range(2)})
    assert [row["audio"]["path"] for row in rows(tmp_path)] == ["0.wav", "1.wav", "0.flac", "1.flac"]


def test_values_of_different_types_are_named_at_the_start(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"0.wav": sound(0), "0.json": b'{"n": 1}'})
    write_tar(tmp_path / "b.tar", {"1.wav": sound(0), "1.json": b'{"n": "x"}'})
    with pytest.raises(ValueError, match=r"b\.tar hold values of different types"):
        rows(tmp_path)


def test_every_tar_is_a_shard_and_names_do_not_choose_among_them(tmp_path: Path) -> None:
    for i, name in enumerate(("drums.tar", "train_horn.tar", "x::y [1].tar")):
        write_tar(tmp_path / name, {f"{i}.wav": sound(i)})
    stream = load_audio_stream(str(tmp_path))
    assert stream.num_shards == 3
    assert len(list(stream)) == 3


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    write_tar(tmp_path / "caf\udce9.tar", {"d\udce9j\udce0.wav": sound(1), "d\udce9j\udce0.\udce9": b""})
    (row,) = rows(tmp_path)
    texts = [row["__key__"], row["__url__"], *row]
    assert all(text.encode() for text in texts)
    assert row["__key__"] == "d\\udce9j\\udce0"


def test_a_compressed_tar_is_read(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar.gz", {"a.wav": sound(1)}, "w:gz")
    assert rows(tmp_path)[0]["audio"]["bytes"] == sound(1)


def test_a_tar_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", {f"{i}.wav": sound(i) for i in range(5)})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OSError, match=r"x\.tar cannot be read: unexpected end of data"):
        rows(tmp_path)
    path.write_bytes(b"no tar")
    with pytest.raises(OSError, match=r"x\.tar cannot be read: .*truncated header"):
        rows(tmp_path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_are_the_sound_that_they_lead_to(mode: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / f"x.tar{mode[2:] and '.gz'}", mode) as tar:  # type: ignore[call-overload]
        content = sound(1)
        info = tarfile.TarInfo("a.flac")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        links = (("b.flac", tarfile.LNKTYPE, "a.flac"), ("c.flac", tarfile.SYMTYPE, "a.flac"))
        for name, kind, target in (*links, ("d.flac", tarfile.SYMTYPE, "nowhere.flac")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
    found = [(row["audio"]["path"], row["audio"]["bytes"]) for row in rows(tmp_path)]
    assert found == [(name, content) for name in ("a.flac", "b.flac", "c.flac")] + [("d.flac", b"")]


def test_a_compressed_tar_that_breaks_off_or_is_damaged_is_named(tmp_path: Path) -> None:
    for mode in ("w:gz", "w:xz", "w:bz2"):
        file = write_tar(tmp_path / "x.tar.gz", {f"{i}.wav": sound(i) for i in range(3)}, mode)
        whole = file.read_bytes()
        flipped = bytes([*whole[:60], whole[60] ^ 255, *whole[61:]])
        for content in (whole[: len(whole) // 2], flipped):
            file.write_bytes(content)
            with pytest.raises(OSError, match="x.tar.gz cannot be read: "):
                rows(tmp_path)


def test_concatenated_tars_are_refused(tmp_path: Path) -> None:
    file = write_tar(tmp_path / "x.tar", {"a.wav": sound(1)})
    file.write_bytes(2 * file.read_bytes())
    with pytest.raises(ValueError, match="x.tar has data after its end mark, as concatenated tar files have"):
        rows(tmp_path)
