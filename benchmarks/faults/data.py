"""Faults of folders of audio and of tables."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import soundfile

from .registry import AUDIO, attempt, fault, flip

Listing = Callable[[Path], tuple[int, str]]
FORMATS = {".aif": "AIFF", ".opus": "OGG"}
OTHER_FILES = [".jpg", ".txt", ".cue"]
FOLDERS = {
    "No fault: plain names": ["a.wav", "b.wav", "c.wav"],
    "File names look like splits": [
        *("whistle.wav", "door.wav", "train_horn.wav", "rain.wav", "test_tone.wav", "dev-kit.wav")
    ],
    "Folder names look like splits": ["soul train/a.wav", "jazz/b.wav", "rock/c.wav", "test pressing/d.wav"],
    "Glob characters in names": ["live [1999]/a.wav", "live [1999]/b*.wav", "live [1999]/c?.wav"],
    "Suffixes .WAV .aiff .AIF .au .w64 .opus .flac": [
        *("a.WAV", "b.aiff", "c.AIF", "d.au", "e.w64", "f.opus", "g.flac")
    ],
    "A cover, lyrics and a cue sheet beside the audio": ["a.wav", "b.wav", "cover.jpg", "lyrics.txt", "album.cue"],
}


def write_clips(folder: Path, names: list[str]) -> int:
    """Write half a second of music under each name that is one of audio; return their number."""
    samples, rate = soundfile.read(AUDIO / "loop_breakbeat.flac", frames=24_000)
    for path in (folder / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = path.suffix.lower()
        if suffix in OTHER_FILES:
            path.write_text("no audio")
            continue
        kind = FORMATS.get(suffix, suffix[1:].upper())
        subtype = "OPUS" if suffix == ".opus" else None
        soundfile.write(path, samples, 48_000 if subtype else rate, format=kind, subtype=subtype)
    return sum(Path(name).suffix not in OTHER_FILES for name in names)


def datasets_listing(folder: Path) -> tuple[int, str]:
    """Return the number of files in the split `train`, and in each."""
    files = import_module("datasets").load_dataset_builder(str(folder)).config.data_files
    return len(files["train"]), " in `train` (" + ", ".join(f"{name} {len(files[name])}" for name in files) + ")"


def stable_audio_tools_dataset(folder: Path) -> Any:
    """Return the data set that stable-audio-tools trains on."""
    module = import_module("stable_audio_tools.data.dataset")
    configs = [module.LocalDatasetConfig("clips", str(folder))]
    return module.SampleDataset(configs, sample_size=4096, sample_rate=44_100)


def audiocraft_files(folder: Path) -> list[Any]:
    """Return the files that audiocraft trains on."""
    return import_module("audiocraft.data.audio_dataset").find_audio_files(folder)


LISTINGS: dict[str, Listing] = {
    "datasets": datasets_listing,
    "stable_audio_tools": lambda folder: (len(stable_audio_tools_dataset(folder)), ""),
    "audiocraft": lambda folder: (len(audiocraft_files(folder)), ""),
    "audiotools": lambda folder: (len(import_module("audiotools.core.util").find_audio(folder)), ""),
}


def listed(names: list[str]) -> Callable[[Path, Listing], str]:
    """Return a case that counts the files used."""

    def provoke(folder: Path, peer: Listing) -> str:
        total = write_clips(folder, names)
        root = folder / names[0].split("/")[0] if "[" in names[0] else folder
        return attempt(lambda: peer(root), lambda found: f"{found[0]} of {total} used{found[1]}")

    return provoke


for _name, _files in FOLDERS.items():
    fault("data", LISTINGS, _name)(listed(_files))


def stable_audio_tools_epoch(folder: Path) -> list[str]:
    """Return the names of the files that an epoch is made of."""
    data = stable_audio_tools_dataset(folder)
    data.filenames.sort()
    return [Path(data[index][1]["path"]).name for index in range(len(data))]


def audiocraft_epoch(folder: Path) -> list[str]:
    """Return the names of the files that 8 items are made of."""
    options = {"segment_duration": 0.1, "sample_rate": 44_100, "return_info": True, "num_samples": 8}
    data = import_module("audiocraft.data.audio_dataset").AudioDataset(audiocraft_files(folder), **options)
    return [Path(data[index][1].meta.path).name for index in range(len(data))]


def epoch(unreadable: list[str]) -> Callable[[Path, Callable[[Path], list[str]]], str]:
    """Return a case that reads items of a folder with unreadable files."""

    def provoke(folder: Path, peer: Callable[[Path], list[str]]) -> str:
        write_clips(folder, ["a.wav", "b.wav", "c.wav"])
        for name in unreadable:
            (folder / name).write_text("<html>404</html>" * 100)
        return attempt(lambda: peer(folder), lambda names: f"{len(names)} items, of {', '.join(sorted(set(names)))}")

    return provoke


EPOCHS = {"stable_audio_tools": stable_audio_tools_epoch, "audiocraft": audiocraft_epoch}
fault("data", EPOCHS, "One file of three is no audio")(epoch(["b.wav"]))
fault("data", EPOCHS, "No file is readable")(epoch(["a.wav", "b.wav", "c.wav"]))


@fault("data", "datasets")
def missing_label(folder: Path) -> str:
    """A label is missing, in a column of text and in one of integers."""
    (folder / "rows.csv").write_text("name,label,number\na,drum,1\nb,,\nc,voice,3\n")
    rows = import_module("datasets").load_dataset("csv", data_files=str(folder / "rows.csv"), split="train")
    return attempt(
        lambda: [rows.class_encode_column(name).features[name].names for name in ("label", "number")],
        lambda names: f"classes {names[0]} and {names[1]}",
    )


@fault("data", "datasets")
def changed_file(folder: Path) -> str:
    """A file changes between two passes of `map`."""
    datasets = import_module("datasets")
    write_clips(folder, ["a.wav"])
    datasets.Dataset.from_dict({"path": [str(folder / "a.wav")]}).save_to_disk(folder / "rows")

    def mapped() -> int:
        rows = datasets.load_from_disk(folder / "rows")
        return rows.map(lambda row: {"frames": soundfile.info(row["path"]).frames})[0]["frames"]

    mapped()
    soundfile.write(folder / "a.wav", [0.0] * 100, 16_000)
    return attempt(mapped, lambda frames: f"{frames} frames are returned, the file has 100")


@fault("data", {f"datasets at {place:.0%}": place for place in (0.2, 0.4, 0.6, 0.8)})
def flipped_parquet(folder: Path, peer: float) -> str:
    """One byte of a parquet file is flipped."""
    datasets, path = import_module("datasets"), folder / "rows.parquet"
    values = [hash(str(value)) / 1e18 for value in range(20_000)]
    datasets.Dataset.from_dict({"latents": values}).to_parquet(path)
    flip(path, peer)
    return attempt(
        lambda: datasets.load_dataset("parquet", data_files=str(path), split="train")["latents"],
        lambda read: f"{sum(a != b for a, b in zip(read, values, strict=True))} of {len(values)} values are wrong",
    )
