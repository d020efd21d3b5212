"""Parallel and resumable encoding of an audio data set into latents or codes.

Memory for latents does not depend on the items' length. Memory for codes grows with the longest item: see
`row_encoders`.

The unit of work is a file: `items_per_file` consecutive items of one shard of the source. Its content depends on
nothing else, so any number of processes write the same files. A file is written under a hidden name and renamed, so an
existing file is complete. The footer of a file has the statistics of its rows. They are summed at the end, in the
order of the files, so the result is bit-identical after any number of interruptions.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.audio.io import AudioDecodeError
from hf_audio_vae.audio.resampling import resampled_length
from hf_audio_vae.data.clips import item_name, open_item, read_stretch
from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.encoding.row_encoders import RowEncoder, row_encoder
from hf_audio_vae.training.encoding.tallies import Tally

FOOTER = "hf_audio_vae"
Row = dict[str, Any]


def encode_dataset(
    model: AutoencoderModel,
    source: datasets.IterableDataset,
    folder: Path,
    record: EncodingRecord,
    *,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[float], object] = lambda seconds: None,
) -> float:
    """Write this process's share of the missing files.

    Args:
        model (`AutoencoderModel`): Autoencoder with posteriors or codes, in evaluation mode; encodes in chunks of
            `tile_frames`.
        source (`datasets.IterableDataset`): From `load_audio_stream(..., keep_columns=True)`.
        folder (`Path`): Folder of the encoded data set; files go into its `data/`.
        record (`EncodingRecord`): Settings of the encoding.
        rank (`int`): Index of this process.
        world_size (`int`): Number of processes.
        progress (`Callable`): Called with the seconds of audio of every written row.

    Returns:
        `float`: Seconds of audio encoded in this call.

    Raises:
        ValueError: The columns of the source are unknown, or collide with the written columns.
    """
    if source.features is None:
        raise ValueError(
            "the columns of the data set are unknown before reading; use parquet, or a data set with a schema."
        )
    others = {name: feature for name, feature in source.features.items() if name != "audio"}
    encoder = row_encoder(model, record)
    features = encoder.features(others)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    encoded = 0.0
    for path, examples in _files(source, folder / "data", record.items_per_file, rank, world_size):
        with _FileWriter(path, features) as writer:
            for example in examples:
                _encode_item(encoder, example, record.max_row_seconds, writer, progress)
        encoded += writer.tally.seconds
    return encoded


def tally(folder: Path) -> Tally:
    """Sum the tallies of all files, in the files' order."""
    total = Tally()
    for path in sorted((folder / "data").glob("*.parquet")):
        total.add(Tally.from_json(pq.read_metadata(path).metadata[FOOTER.encode()]))
    return total


def _files(
    source: datasets.IterableDataset, folder: Path, items_per_file: int, rank: int, world_size: int
) -> Iterator[tuple[Path, Iterator[Mapping[str, Any]]]]:
    """Yield the files that this process has to write, with their items. Consume all items before the next file.

    If there are enough shards, each is read by one process. Otherwise all processes read all shards and files are
    distributed.
    """
    by_shard = source.num_shards >= world_size
    file_index = 0
    for shard in range(source.num_shards):
        if by_shard and shard % world_size != rank:
            continue
        examples = iter(source.shard(source.num_shards, shard) if source.num_shards > 1 else source)
        number = 0
        while (first := next(examples, None)) is not None:
            items = _first_and_next(first, examples, items_per_file)
            path = folder / f"train-{shard:05d}-{number:06d}.parquet"  # `datasets` derives the split from this name
            if (by_shard or file_index % world_size == rank) and not path.exists():
                yield path, items
            for _ in items:
                pass  # of another process, or already written
            number += 1
            file_index += 1


def _first_and_next(first: Any, rest: Iterator[Any], count: int) -> Iterator[Any]:
    yield first
    for _ in range(count - 1):
        item = next(rest, None)
        if item is None:
            return
        yield item


class _FileWriter:
    """Writes a parquet file, which gets its name when it is complete."""

    def __init__(self, path: Path, features: datasets.Features) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        self.features = features
        self.tally = Tally()

    def __enter__(self) -> "_FileWriter":
        self._writer = pq.ParquetWriter(self.partial, self.features.arrow_schema)
        return self

    def write(self, row: Row, seconds: float) -> None:
        """Write a row as its own row group, so that a reader needs no more memory than the writer."""
        ordered = {name: row[name] for name in self.features}
        table = datasets.Dataset.from_list([ordered], features=self.features).data.table
        self._writer.write_table(table.cast(self.features.arrow_schema))
        self.tally.rows += 1
        self.tally.seconds += seconds

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._writer.add_key_value_metadata({FOOTER: self.tally.to_json()})
        self._writer.close()
        if kind is None:
            os.replace(self.partial, self.path)
        else:
            self.partial.unlink()


def _encode_item(
    encoder: RowEncoder,
    example: Mapping[str, Any],
    max_row_seconds: float,
    writer: _FileWriter,
    progress: Callable[[float], object],
) -> None:
    """Write the rows of an item up to the first decoding error. Other read errors are raised."""
    others = {name: value for name, value in example.items() if name != "audio"}
    name = item_name(example["audio"])
    rows = _encode_rows(encoder, example, max_row_seconds)
    written = 0
    while True:
        try:
            row = next(rows, None)
        except AudioDecodeError as error:
            writer.tally.skipped[name] = str(error)
            break
        if row is None:
            break
        columns, frames, start, count, last = row
        encoded = {column: value.numpy() for column, value in columns.items()} | {"frames": frames, "path": name}
        seconds = count / encoder.sampling_rate
        writer.write(others | encoded | {"start_sample": start, "num_samples": count, "last": last}, seconds)
        encoder.measure(columns, writer.tally)
        progress(seconds)
        written += 1
    writer.tally.items += written > 0


def _encode_rows(
    encoder: RowEncoder, example: Mapping[str, Any], max_row_seconds: float
) -> Iterator[tuple[dict[str, Tensor], int, int, int, bool]]:
    """Yield rows of at most `max_row_seconds`.

    Each has columns, (frames, ...), number of frames, first sample, number of samples, and whether it is the last row.
    """
    row_frames = max(round(max_row_seconds * encoder.sampling_rate / encoder.hop_length), 1)
    audio_format = {"sampling_rate": encoder.sampling_rate, "audio_channels": encoder.audio_channels}
    with open_item(example["audio"], thorough=True) as reader:
        time = resampled_length(reader, encoder.sampling_rate)
        if time < 1:
            raise AudioDecodeError(f"the audio is shorter than one sample at {encoder.sampling_rate} Hz.")

        def read(start: int, stop: int) -> Tensor:
            waveform = read_stretch(reader, start, stop - start, **audio_format)
            return F.pad(waveform, (0, stop - start - waveform.shape[-1]))[
                None
            ]  # samples lost to rounding in resampling

        start = 0
        for columns, frames in encoder.rows(read, time, row_frames):
            count = min(frames * encoder.hop_length, time - start)
            yield columns, frames, start, count, start + count >= time
            start += count
