"""Corpora that the scripts make, from packages and data sets with real sound in them."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import datasets
import pytest
import soundfile
import torch
import yaml

from hf_audio_vae.audio import resample
from hf_audio_vae.audio.io import read_audio, write_audio
from hf_audio_vae.data import load_audio_stream
from hf_audio_vae.data.corpus import Sound, write_corpus
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.corpus_building import CompactOptions, Degradation, opus_excerpts
from training.corpora import debian, hub

CLIPS = sorted(Path("data/held_out").glob("*.*g*"))  # ogg
SPEECH = Path("data/held_out/speech_en_0890.flac")
AUDIO = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-2+

Files: data/music/*
Copyright: 2005, Somebody
License: CC-BY-4.0

Files:
 data/base/speech.flac
 data/other.ogg
License: public-domain
 It may be used by everybody.

License: GPL-2+
 Text of the license.
"""


def sound(path: Path, source: str = "here") -> Sound:
    return Sound(path.name, "music", "CC0", source, path.read_bytes)


def test_a_file_has_the_license_of_the_last_paragraph_that_names_it() -> None:
    copyright = debian.CopyrightFile.parse(COPYRIGHT)
    assert copyright.license_of("src/main.c") == "GPL-2+"
    assert copyright.license_of("data/music/deep/down.ogg") == "CC-BY-4.0"
    assert copyright.license_of("data/base/speech.flac") == "public-domain"
    assert debian.CopyrightFile.parse("This package was made by hand.\n\nGPL").license_of("a.ogg") is None


def test_a_corpus_streams_the_same_bytes_and_leaves_out_what_cannot_be_decoded(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.ogg"
    damaged.write_bytes(b"OggS" + bytes(1000))
    splits = {"train": [sound(path) for path in (*CLIPS, damaged)], "test": [sound(SPEECH)]}
    summary = write_corpus(tmp_path / "corpus", splits, shard_mib=0.2, title="Clips")
    assert list(summary.left_out) == ["damaged.ogg"]
    assert len(list((tmp_path / "corpus/data").glob("train-*.parquet"))) > 1
    for split, paths in (("train", CLIPS), ("test", [SPEECH])):
        streamed = [example["audio"] for example in load_audio_stream(str(tmp_path / "corpus"), split=split)]
        assert [(item["path"], item["bytes"]) for item in streamed] == [(p.name, p.read_bytes()) for p in paths]
    expected = sum(soundfile.info(path).duration for path in CLIPS)
    assert summary.seconds["train", "music", "CC0"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="exists"):
        write_corpus(tmp_path / "corpus", splits, shard_mib=1, title="Clips")


def test_an_unfinished_corpus_has_no_folder(tmp_path: Path) -> None:
    def breaks() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(
            tmp_path / "corpus",
            {"train": [sound(SPEECH), Sound("b", "music", "CC0", "x", breaks)]},
            shard_mib=1,
            title="",
        )
    assert not (tmp_path / "corpus").exists()
    with pytest.raises(ValueError, match="no sound for the split 'train'"):
        write_corpus(tmp_path / "corpus", {"train": []}, shard_mib=1, title="")


def test_excerpts_take_the_same_time_from_each_source_and_sound_like_their_originals() -> None:
    sources = {"clips": [sound(path, "clips") for path in CLIPS], "speech": [sound(SPEECH, "speech")]}
    options = CompactOptions(hours=9 / 3600, megabytes=0.05, excerpt_seconds=2)
    degradation = Degradation()
    excerpts = list(opus_excerpts(sources, 9.0, options, degradation))
    seconds: dict[str, float] = {}
    for excerpt in excerpts:
        info = soundfile.info(io.BytesIO(excerpt.read()))
        assert (info.subtype, info.samplerate, info.channels) == ("OPUS", 24000, 1)
        assert info.duration <= 2
        assert excerpt.path.endswith(".opus")
        seconds[excerpt.source] = seconds.get(excerpt.source, 0.0) + info.duration
    assert seconds["speech"] == pytest.approx(2, abs=0.01), "one file, one excerpt"
    assert 9 <= sum(seconds.values()) < 11
    assert max(degradation.mel_distance) < 1, "44 kbit/s"
    assert sum(len(excerpt.read()) for excerpt in excerpts) < 1.5e5


def test_whole_files_are_cut_into_consecutive_excerpts() -> None:
    options = CompactOptions(hours=1, megabytes=20, excerpt_seconds=1, whole_files=True)
    excerpts = list(opus_excerpts({"speech": [sound(SPEECH, "speech")]}, 3600.0, options, Degradation()))
    original, rate = read_audio(SPEECH)
    whole = resample(original.mean(dim=0, keepdim=True), rate, options.sampling_rate)[0]
    decoded = [read_audio(excerpt.read())[0][0] for excerpt in excerpts]
    assert len({excerpt.path for excerpt in excerpts}) == len(excerpts) == round(len(whole) / 24000)
    assert {len(piece) for piece in decoded[:-1]} == {24000}
    joined = torch.cat(decoded)
    assert torch.corrcoef(torch.stack((joined, whole[: len(joined)])))[0, 1] > 0.9


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_packages_become_a_corpus_split_by_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in ("first-game", "second-game"):
        root = tmp_path / name
        game = root / "usr/share/games" / name
        (game / "music").mkdir(parents=True)
        (game / "base").mkdir()
        shutil.copy(CLIPS[0], game / "music/theme.ogg")
        (game / "music/cover.png").write_bytes(b"a picture")
        with zipfile.ZipFile(game / "base/sounds.pk3", "w") as archive:
            archive.write(SPEECH, "speech.flac")
        (root / "usr/share/doc" / name).mkdir(parents=True)
        (root / "usr/share/doc" / name / "copyright").write_text(COPYRIGHT)
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: N <n@x.org>\nDescription: sound\n"
        )
        subprocess.run(
            ["dpkg-deb", "--build", root, packages / f"{name}_1.0_all.deb"], check=True, capture_output=True
        )

    def entry(name: str) -> dict[str, object]:
        return {"kinds": {"*/music/*": "music"}, "installed": f"usr/share/games/{name}", "source": "data"}

    recipe = {"train": {"first-game": entry("first-game")}, "test": {"second-game": entry("second-game")}}
    recipe["test"]["second-game"]["kinds"] = {"*/music/*": "music", "*": "speech"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    out = tmp_path / "corpus"
    options = ["--config", str(tmp_path / "recipe.yaml"), "--download_dir", str(packages), "--output_dir", str(out)]
    debian.main(options)
    printed = capsys.readouterr().out
    assert "first-game: 1 files left out, their kind or license is unknown" in printed, "the recipe has no kind"
    assert "| train | music | 1 |" in printed
    rows = list(load_audio_stream(str(out), split="test", keep_columns=True))
    assert {(row["kind"], row["license"], row["source"]) for row in rows} == {
        ("music", "CC-BY-4.0", "second-game"),
        ("speech", "public-domain", "second-game"),
    }
    debian.main([*options[:-1], str(tmp_path / "compact"), "--compact", "--compact.hours", "1"])
    printed = capsys.readouterr().out
    assert "MB. Opus against the excerpts, 3 files" in printed
    assert "larger than" not in printed
    tight = ["--compact.hours", "1", "--compact.megabytes", "0.001"]
    debian.main([*options[:-1], str(tmp_path / "tight"), *tight])
    assert "larger than `--compact.megabytes` 0.001" in capsys.readouterr().out
    sampling_rates = {row["sampling_rate"] for row in load_audio_stream(str(tmp_path / "compact"), keep_columns=True)}
    assert sampling_rates == {24000}


@pytest.mark.parametrize("recipe", sorted(Path("training/corpora").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_of_a_corpus_is_valid_and_names_no_package_in_two_splits(recipe: Path) -> None:
    config = parse_config(debian.DebianCorpusConfig, ["--config", str(recipe), "--output_dir", "corpus"])
    packages = [*config.train, *config.validation, *config.test]
    assert config.train and len(set(packages)) == len(packages)


def test_a_package_that_cannot_be_downloaded_is_named(tmp_path: Path) -> None:
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        message = "run this on Debian or Ubuntu"
    else:
        message = "package no-such-package-anywhere cannot be downloaded"
    with pytest.raises(ValueError, match=message):
        debian.download("no-such-package-anywhere", tmp_path)


def test_any_data_set_becomes_a_corpus_with_the_license_of_its_card(tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for path in (*CLIPS[:2], SPEECH):
        shutil.copy(path, folder)
    options = ["--dataset_name", str(folder), "--output_dir", str(tmp_path / "corpus"), "--kind", "note"]
    with pytest.raises(ValueError, match="names no license"):
        hub.main(options)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    hub.main(options)
    rows = list(load_audio_stream(str(tmp_path / "corpus"), keep_columns=True))
    assert len(rows) == 3
    assert {(row["kind"], row["license"]) for row in rows} == {("note", "cc-by-4.0")}
    original, rate = read_audio(SPEECH)
    copied, copied_rate = read_audio(next(r["audio"]["bytes"] for r in rows if "speech" in r["audio"]["path"]))
    assert (copied_rate, copied.tolist()) == (rate, original.tolist())


@pytest.mark.parametrize("compact", [False, True])
def test_a_file_that_breaks_off_or_is_not_finite_is_left_out_and_named(
    tmp_path: Path, compact: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    waveform, rate = read_audio(SPEECH)
    waveform[0, 1000] = float("nan")
    folder = tmp_path / "sounds"
    folder.mkdir()
    write_audio(folder / "nan.wav", waveform, rate)
    whole = SPEECH.read_bytes()
    (folder / "cut.flac").write_bytes(whole[: len(whole) // 2])
    shutil.copy(SPEECH, folder / "whole.flac")
    options = ["--dataset_name", str(folder), "--license", "CC0", "--output_dir", str(tmp_path / "corpus")]
    hub.main([*options, *(["--compact", "--compact.hours", "0.01"] if compact else [])])
    printed = capsys.readouterr().out
    assert "nan.wav: it holds NaN" in printed
    assert "cut.flac" in printed
    (row,) = load_audio_stream(str(tmp_path / "corpus"))
    assert "whole" in row["audio"]["path"]


def test_items_without_a_license_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoded = SPEECH.read_bytes()
    rows = [
        {"audio": {"bytes": encoded, "path": f"{i}.flac"}, "rights": rights, "sort": sort}
        for i, (rights, sort) in enumerate([("CC0", "speech"), (None, "music"), ("MIT", None)])
    ]
    features = datasets.Features(
        {"audio": AUDIO, "rights": datasets.Value("string"), "sort": datasets.Value("string")}
    )
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "data/train.parquet")
    columns = ["--audio_column", "audio", "--license_column", "rights", "--kind_column", "sort", "--kind", "other"]
    hub.main(["--dataset_name", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out"), *columns])
    assert "1 items left out, their license is not known" in capsys.readouterr().out
    written = list(load_audio_stream(str(tmp_path / "out"), keep_columns=True))
    assert [(row["kind"], row["license"]) for row in written] == [("speech", "CC0"), ("other", "MIT")]
    with pytest.raises(ValueError, match="splits"):
        hub.main(["--dataset_name", str(tmp_path), "--output_dir", str(tmp_path / "x"), "--splits.dev", "dev"])
