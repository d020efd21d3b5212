"""Audio corpora on disk: encoded sounds with kind, license and source in parquet shards for `datasets`."""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq

from hf_audio_vae.audio.io import AudioDecodeError, open_audio
from hf_audio_vae.data.clips import read_checked_crop

MIB = 2**20
ROW_GROUP_BYTES = MIB  # a reader holds one row group in memory
FEATURES = datasets.Features(
    {
        "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        "kind": datasets.Value("string"),
        "license": datasets.Value("string"),
        "source": datasets.Value("string"),
        "seconds": datasets.Value("float64"),
        "sampling_rate": datasets.Value("int64"),
        "audio_channels": datasets.Value("int64"),
    }
)


@dataclass(frozen=True)
class Sound:
    """An encoded sound and its metadata.

    Args:
        path (`str`): Name in the corpus.
        kind (`str`): `"music"`, `"speech"`, `"effect"` or `"note"`.
        license (`str`): SPDX identifier, or the source's name of the license.
        source (`str`): Package or data set.
        read (`Callable[[], bytes]`): Returns the encoded bytes; an `AudioDecodeError` leaves the sound out.
    """

    path: str
    kind: str
    license: str
    source: str
    read: Callable[[], bytes]


@dataclass
class CorpusSummary:
    """Number and length of the sounds of a corpus, and the sounds left out.

    Args:
        files (`dict`): Files by (split, kind, license).
        seconds (`dict`): Seconds of sound by the same keys.
        left_out (`dict[str, str]`): Path -> reason.
    """

    files: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[tuple[str, str, str], float] = field(default_factory=lambda: defaultdict(float))
    left_out: dict[str, str] = field(default_factory=dict)

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        """Count a row."""
        key = split, row["kind"], row["license"]
        self.files[key] += 1
        self.seconds[key] += row["seconds"]

    def table(self) -> str:
        """Return a Markdown table: files, hours and licenses by split and kind."""
        lines = ["| split | kind | files | hours | licenses (files) |", "|---|---|---:|---:|---|"]
        for split, kind in dict.fromkeys(key[:2] for key in self.files):
            keys = sorted((key for key in self.files if key[:2] == (split, kind)), key=lambda key: -self.files[key])
            licenses = ", ".join(f"{key[2]} ({self.files[key]})" for key in keys)
            files, hours = sum(self.files[key] for key in keys), sum(self.seconds[key] for key in keys) / 3600
            lines.append(f"| {split} | {kind} | {files} | {hours:.2f} | {licenses} |")
        return "\n".join(lines)


def write_corpus(
    folder: Path, splits: Mapping[str, Iterable[Sound]], *, shard_mib: float, title: str
) -> CorpusSummary:
    """Write encoded sounds unchanged; a sound that cannot be decoded is left out, with the reason in the summary.

    The folder gets its final name only when it is complete.

    Args:
        folder (`Path`): New folder; `datasets.load_dataset(folder, split=...)` reads it.
        splits (`Mapping[str, Iterable[Sound]]`): Sounds by split, in the order to write.
        shard_mib (`float`): MiB of sound after which a new shard begins.
        title (`str`): Title of the data set card.

    Raises:
        ValueError: The folder exists, or a split has no sound.
    """
    summary = CorpusSummary()
    with new_folder(folder) as partial:
        (partial / "data").mkdir()
        for split, sounds in splits.items():
            for shard, rows in enumerate(_shards(_rows(sounds, summary), round(shard_mib * MIB))):
                path = partial / "data" / f"{split}-{shard:05d}.parquet"  # `datasets` reads the split from the name
                with pq.ParquetWriter(path, _schema()) as writer:
                    for group in _groups(rows, split, summary):
                        writer.write_table(datasets.Dataset.from_list(group, features=FEATURES).data.table)
            if not any(key[0] == split for key in summary.files):
                raise ValueError(f"no sound for the split {split!r}; {len(summary.left_out)} were left out.")
        (partial / "README.md").write_text(_card(title, summary))
    return summary


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder that gets its final name at the end of the block; what a killed run left is removed.

    Raises:
        ValueError: The folder exists.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists; remove it, or choose another `--output_dir`.")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    os.replace(partial, folder)


def _schema() -> Any:
    """Schema of the columns, with `audio` marked as audio for `datasets`."""
    marked = datasets.Features({**FEATURES, "audio": datasets.Audio(decode=False)})
    return FEATURES.arrow_schema.with_metadata(marked.arrow_schema.metadata)


def _rows(sounds: Iterable[Sound], summary: CorpusSummary) -> Iterator[dict[str, Any]]:
    for sound in sounds:
        try:
            encoded = sound.read()
            with open_audio(encoded) as reader:
                # The header may claim more samples than the file has, so the whole file is decoded once.
                read_checked_crop(
                    reader,
                    0,
                    reader.num_samples,
                    sampling_rate=reader.sampling_rate,
                    audio_channels=reader.audio_channels,
                )
                row = {
                    "audio": {"bytes": encoded, "path": sound.path},
                    "kind": sound.kind,
                    "license": sound.license,
                    "source": sound.source,
                    "seconds": reader.num_samples / reader.sampling_rate,
                    "sampling_rate": reader.sampling_rate,
                    "audio_channels": reader.audio_channels,
                }
        except AudioDecodeError as error:
            summary.left_out[sound.path] = str(error)
            continue
        yield row


def _shards(rows: Iterator[dict[str, Any]], limit: int) -> Iterator[Iterator[dict[str, Any]]]:
    """Split rows into shards of `limit` bytes; each shard has to be read to its end before the next."""
    first = next(rows, None)

    def shard() -> Iterator[dict[str, Any]]:
        nonlocal first
        size = 0
        while first is not None and size < limit:
            size += len(first["audio"]["bytes"])
            yield first
            first = next(rows, None)

    while first is not None:
        yield shard()


def _groups(rows: Iterator[dict[str, Any]], split: str, summary: CorpusSummary) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        summary.add(split, row)
        group.append(row)
        size += len(row["audio"]["bytes"])
        if size >= ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _card(title: str, summary: CorpusSummary) -> str:
    return f"""---
tags: [audio, hf-audio-vae]
license: other
---

# {title}

Every row names the license and the source of its sound.

{summary.table()}
"""
