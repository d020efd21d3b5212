"""A second run of the encoder on a source, or on files, that have changed since the first."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data import load_audio_stream, load_latent_stream
from hf_audio_vae.data.encoded_files import FOOTER, check_file, has_columns, read_footer
from hf_audio_vae.training.encoding.dataset import encode_dataset, row_features, tally
from hf_audio_vae.training.encoding.resuming import drop_previous, set_aside
from hf_audio_vae.training.encoding.row_encoders import completed, row_encoder
from tests.data.latent_data import record

RATE = 8000
TEXTS = {f"{name}.wav": f"the sound {name}" for name in "bcdefgh"}


def write_sound(path: Path, seed: int, samples: int = 777) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, samples)
    soundfile.write(os.fsencode(path), noise.astype(np.float32), RATE, "PCM_16")  # a header of FLOAT holds the time


def write_texts(folder: Path, texts: dict[str, str]) -> None:
    lines = ["file_name,text", *(f"{name},{text}" for name, text in texts.items() if (folder / name).exists())]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for seed, name in enumerate(TEXTS):
        write_sound(folder / name, seed)
    write_texts(folder, TEXTS)
    return folder


def encode(
    folder: Path, source: Path | datasets.IterableDataset, *, seed: int = 0, **options: bool
) -> dict[str, bytes]:
    """Encode a source into a folder as encode_latents.py does; return the files."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE).eval()
    model.enable_tiling()
    named = record(hop_length=6, latent_channels=2, items_per_file=2, max_row_seconds=0.05)
    if isinstance(source, Path):
        named = record(**vars(named) | {"source": {"dataset_name": str(source)}})
        source = load_audio_stream(str(source), keep_columns=True)
    set_aside(source, folder, named, row_features(source, row_encoder(model, named)), **options)
    with torch.no_grad():
        encode_dataset(model, source, folder, named)
    drop_previous(folder, tally(folder))
    completed(named, tally(folder)).write(folder)
    assert {path.name for path in folder.iterdir()} == {"data", "latents.json", "README.md"}
    return {path.name: path.read_bytes() for path in (folder / "data").iterdir()}


def by_item(folder: Path) -> dict[str, list[list[list[float]]]]:
    rows = datasets.load_dataset("parquet", data_files=str(folder / "data/*.parquet"), split="train")
    return {path: [row["mean"] for row in rows if row["path"] == path] for path in rows["path"]}


def changed(name: str, seed: int, **options: int) -> Callable[[Path], None]:
    return lambda folder: write_sound(folder / name, seed, **options)


CHANGES: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "nothing": (lambda folder: None, set()),
    "a new first item": (changed("a.wav", 20), {"a.wav"}),
    "a new last item": (changed("z.wav", 20), {"z.wav"}),
    "no first item": (lambda folder: (folder / "b.wav").unlink(), set()),
    "no last item": (lambda folder: (folder / "h.wav").unlink(), set()),
    "neither item of a file": (lambda folder: [(folder / name).unlink() for name in ("d.wav", "e.wav")], set()),
    "other sound of equal length": (changed("d.wav", 20), {"d.wav"}),
    "a longer sound": (changed("d.wav", 20, samples=1500), {"d.wav"}),
    "another text": (lambda folder: TEXTS | {"e.wav": "a bell"}, set()),
    "another name": (lambda folder: (folder / "c.wav").rename(folder / "x.wav"), {"x.wav"}),
}
FAST = ("a new first item", "other sound of equal length", "another name")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in CHANGES]
)
def test_a_second_run_gives_what_a_first_run_would_and_encodes_what_is_new(
    name: str, sounds: Path, tmp_path: Path
) -> None:
    encode(tmp_path / "out", sounds)
    before = by_item(tmp_path / "out")
    change, new = CHANGES[name]
    texts = change(sounds)
    write_texts(sounds, texts if isinstance(texts, dict) else TEXTS | {"a.wav": "a", "x.wav": "x", "z.wav": "z"})
    shutil.copytree(tmp_path / "out", tmp_path / "other model")
    assert encode(tmp_path / "out", sounds) == encode(tmp_path / "fresh", sounds)
    encode(tmp_path / "other model", sounds, seed=1)  # tells which rows are not those of the first run
    after = by_item(tmp_path / "other model")
    assert {path for path, rows in after.items() if rows != before.get(path)} == new


def test_a_source_may_move_but_another_source_is_refused(sounds: Path, tmp_path: Path) -> None:
    first = encode(tmp_path / "out", sounds)
    moved = sounds.rename(tmp_path / "moved")
    assert encode(tmp_path / "out", moved, seed=1, moved=True) == first
    (tmp_path / "others").mkdir()
    write_sound(tmp_path / "others/other.wav", 0)
    with pytest.raises(ValueError, match=r"other items than .*others, such as b.wav, c.wav, .*`--output_dir`"):
        encode(tmp_path / "out", tmp_path / "others", moved=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out/data").iterdir()} == first


def parquet_source(folder: Path, shards: list[list[int]]) -> datasets.IterableDataset:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    features = datasets.Features(audio={"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
    for number, seeds in enumerate(shards):
        rows = []
        for seed in seeds:
            write_sound(folder / "sound.wav", seed)
            rows.append({"bytes": (folder / "sound.wav").read_bytes(), "path": f"{seed}.wav"})
        table = datasets.Dataset.from_dict({"audio": rows}, features=features)
        table.to_parquet(folder / f"train-{number:03d}.parquet")
    (folder / "sound.wav").unlink()
    return load_audio_stream(str(folder), audio_column="audio", keep_columns=True)


def test_rows_without_readable_audio_are_skipped_counted_and_tried_again(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    paths = [str(sounds / "b.wav"), None, str(sounds / "x.wav"), str(sounds / "c.wav")]
    pq.write_table(pa.table({"audio": paths}), tmp_path / "lists/train.parquet")
    source = load_audio_stream(str(tmp_path / "lists"), audio_column="audio", keep_columns=True)
    first = encode(tmp_path / "out", source)
    total = tally(tmp_path / "out")
    assert (total.items, total.bad_items) == (2, 2)
    assert total.skipped == {
        "row without audio": "it has neither bytes nor a path.",
        paths[2]: f"{paths[2]} cannot be read: No such file or directory",
    }
    assert encode(tmp_path / "out", source) == first
    write_sound(sounds / "x.wav", 30)
    assert encode(tmp_path / "out", source) != first
    assert tally(tmp_path / "out").items == 3


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    for folder in ("caf\udce9", "bar"):
        (tmp_path / "sounds" / folder).mkdir(parents=True)
        write_sound(tmp_path / "sounds" / folder / "d\udce9j\udce0.wav", 0)
    (tmp_path / "sounds/bar/x\udce9.wav").touch()
    first = encode(tmp_path / "out", tmp_path / "sounds")
    assert set(by_item(tmp_path / "out")) == {"bar/d\\udce9j\\udce0.wav", "caf\\udce9/d\\udce9j\\udce0.wav"}
    assert list(tally(tmp_path / "out").skipped) == ["bar/x\\udce9.wav"]
    rows = list(load_latent_stream(str(tmp_path / "out")))
    assert {int(row["label"]) for row in rows} == {0, 1}
    assert encode(tmp_path / "out", tmp_path / "sounds") == first


@pytest.mark.parametrize("shards", [[[0, 1, 2], [3, 4]], [[0, 1, 2], [], [5, 6, 7]], [[3, 4], [0, 1, 2], [5, 6, 7]]])
def test_shards_that_are_fewer_empty_or_in_another_order(shards: list[list[int]], tmp_path: Path) -> None:
    encode(tmp_path / "out", parquet_source(tmp_path / "source", [[0, 1, 2], [3, 4], [5, 6, 7]]))
    source = parquet_source(tmp_path / "source", shards)
    assert encode(tmp_path / "out", source, seed=1) == encode(tmp_path / "fresh", source)


def test_items_without_a_name_count_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    features = datasets.Features(audio={"bytes": datasets.Value("binary"), "path": datasets.Value("string")})
    write_sound(tmp_path / "sound.wav", 0)
    values = [b"", b"", b"", (tmp_path / "sound.wav").read_bytes()]
    rows = datasets.Dataset.from_dict(
        {"audio": [{"bytes": value, "path": None} for value in values]}, features=features
    )
    rows.to_parquet(tmp_path / "source/train.parquet")
    encode(tmp_path / "out", load_audio_stream(str(tmp_path / "source"), audio_column="audio", keep_columns=True))
    total = tally(tmp_path / "out")
    assert (total.items, total.bad_items, len(total.skipped), len(total.made_of)) == (1, 3, 1, 4)


def damage(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << (position % 8)
    path.write_bytes(content)


def test_a_damaged_file_is_named_and_written_again(
    sounds: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = encode(tmp_path / "out", sounds)
    cut, flipped, emptied = sorted((tmp_path / "out/data").iterdir())[:3]
    cut.write_bytes(first[cut.name][: len(first[cut.name]) // 2])
    damage(flipped, 300)
    emptied.write_bytes(b"")
    assert encode(tmp_path / "out", sounds) == first
    for path in (cut, flipped, emptied):
        assert f"{path} is damaged: " in caplog.text


@pytest.mark.slow
def test_no_flipped_bit_passes_for_the_file_that_was_written(sounds: Path, tmp_path: Path) -> None:
    first = encode(tmp_path / "out", sounds)
    path = sorted((tmp_path / "out/data").iterdir())[1]
    rows, metadata = pq.read_table(path), read_footer(path)
    draw = random.Random(0)
    features = datasets.Features.from_arrow_schema(rows.schema)
    noticed = 0
    for _ in range(2000):
        damage(path, draw.randrange(len(first[path.name])))
        try:
            footer = read_footer(path)
            check_file(path)
            whole = has_columns(path, features, list(features))
        except ValueError as error:
            assert str(path) in str(error)
            whole = False
        if whole:
            assert footer == metadata
            assert pq.read_table(path).equals(rows)
        noticed += not whole
        path.write_bytes(first[path.name])
    assert noticed > 1000


def test_training_names_a_damaged_file(sounds: Path, tmp_path: Path) -> None:
    first = encode(tmp_path / "out", sounds)
    path = sorted((tmp_path / "out/data").iterdir())[1]
    damage(path, 300)
    with pytest.raises(ValueError, match=rf"{path} is damaged: .*CRC.*run `hf-audio-vae encode-dataset` again"):
        list(load_latent_stream(str(tmp_path / "out")))
    encoded = record().read(tmp_path / "out")
    encoded.check_weights("0" * 64, str(tmp_path / "out"))  # reads no pages
    path.write_bytes(first[path.name][:-100])
    with pytest.raises(ValueError, match=rf"{path} is damaged: "):
        encoded.check_weights("0" * 64, str(tmp_path / "out"))
    path.unlink()
    with pytest.raises(ValueError, match="has 10 rows in its files, but latents.json has 14: files were removed"):
        encoded.check_weights("0" * 64, str(tmp_path / "out"))


def test_files_that_do_not_say_what_they_were_made_of_are_refused(sounds: Path, tmp_path: Path) -> None:
    encode(tmp_path / "out", sounds)
    path = sorted((tmp_path / "out/data").iterdir())[0]
    table = pq.read_table(path)
    old = pq.read_metadata(path).metadata[FOOTER.encode()].decode().partition(', "made_of"')[0] + "}"
    with pq.ParquetWriter(path, table.schema) as file:
        file.write_table(table)
        file.add_key_value_metadata({FOOTER: old})
    with pytest.raises(ValueError, match=r"train-00000-000000.parquet was written by version 0.1, .*`--output_dir`"):
        encode(tmp_path / "out", sounds)
    assert len(list((tmp_path / "out/data").iterdir())) == 4
