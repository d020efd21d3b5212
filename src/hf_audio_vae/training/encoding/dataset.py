"""A data set of sound to a data set of latents or codes: parallel and resumable.

Memory does not grow with the items for latents; for codes it does, with the longest: see `row_encoders`.

The unit of work is a file: `items_per_file` consecutive items of one shard of the source. What is in it depends on
nothing else, so any number of processes write the same files, and a file that is there is finished: it is written
under a hidden name and renamed. What it adds to the statistics stands in its footer; the sum is taken at the end, in
the files' order, and is the same to the bit however often the work was interrupted.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.audio.io import AudioDecodeError
from hf_audio_vae.audio.resampling import resampled_length
from hf_audio_vae.data.clips import item_name, open_item, read_stretch
from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.training.encoding.row_encoders import RowEncoder, row_encoder
from hf_audio_vae.training.encoding.tallies import Tally

FOOTER = "hf_audio_vae"
Row = dict[str, Any]


def encode_dataset(
    model: nn.Module,
    source: datasets.IterableDataset,
    folder: Path,
    record: EncodingRecord,
    *,
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[float], object] = lambda seconds: None,
) -> float:
    """Write this process's share of the files that are not there yet.

    Args:
        model (`torch.nn.Module`): Autoencoder with posteriors or codes, in evaluation mode; works `tile_frames` at a
            time.
        source (`datasets.IterableDataset`): From `load_audio_stream(..., keep_columns=True)`.
        folder (`Path`): Of the data set; files go into `data/` in it.
        record (`EncodingRecord`): How to encode.
        rank (`int`): This process.
        world_size (`int`): Number of processes.
        progress (`Callable`): Called with the seconds of sound of every row that is written.

    Returns:
        `float`: Seconds of sound that were encoded in this call.

    Raises:
        ValueError: The columns of the source are not known, or clash with those that are written.
    """
    if source.features is None:
        raise ValueError("the columns of the data set are not known before it is read; give it a schema, or parquet.")
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
    """Sum up all files, in their order."""
    total = Tally()
    for path in sorted((folder / "data").glob("*.parquet")):
        total.add(Tally.from_json(pq.read_metadata(path).metadata[FOOTER.encode()]))
    return total


def _files(
    source: datasets.IterableDataset, folder: Path, items_per_file: int, rank: int, world_size: int
) -> Iterator[tuple[Path, Iterator[Mapping[str, Any]]]]:
    """Yield the files that this process has to write, each with its items; these have to be used up before the next.

    Shards are dealt out if there are enough of them, so that each is read by one process; else all processes read all
    of them and files are dealt out.
    """
    by_shard = source.num_shards >= world_size
    turn = 0
    for shard in range(source.num_shards):
        if by_shard and shard % world_size != rank:
            continue
        part = source.shard(source.num_shards, shard) if source.num_shards > 1 else source
        examples = iter(part)
        number = 0
        while (first := next(examples, None)) is not None:
            items = _first_and_next(first, examples, items_per_file)
            path = folder / f"train-{shard:05d}-{number:06d}.parquet"  # what `datasets` takes for the split
            if (by_shard or turn % world_size == rank) and not path.exists():
                yield path, items
            for _ in items:
                pass  # another process's, or there already
            number += 1
            turn += 1


def _first_and_next(first: Any, rest: Iterator[Any], count: int) -> Iterator[Any]:
    yield first
    for _ in range(count - 1):
        item = next(rest, None)
        if item is None:
            return
        yield item


class _FileWriter:
    """A parquet file that is there when it is whole."""

    def __init__(self, path: Path, features: datasets.Features) -> None:
        self.path = path
        self.partial = path.with_name(f".{path.name}.partial")
        self.features = features
        self.tally = Tally()

    def __enter__(self) -> "_FileWriter":
        self._writer = pq.ParquetWriter(self.partial, self.features.arrow_schema)
        return self

    def write(self, row: Row, seconds: float) -> None:
        """Add a row: one group, so that a reader needs no more memory than the writer."""
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
    """Write an item's rows; of one that breaks off, those before. What cannot be read for now is no such item."""
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
        own = {column: value.numpy() for column, value in columns.items()} | {"frames": frames, "path": name}
        seconds = count / encoder.sampling_rate
        writer.write(others | own | {"start_sample": start, "num_samples": count, "last": last}, seconds)
        encoder.measure(columns, writer.tally)
        progress(seconds)
        written += 1
    writer.tally.items += written > 0


def _encode_rows(
    encoder: RowEncoder, example: Mapping[str, Any], max_row_seconds: float
) -> Iterator[tuple[dict[str, Tensor], int, int, int, bool]]:
    """Yield rows of at most `max_row_seconds`.

    Each is columns, (frames, ...), with frames, first sample, samples, and whether the item ends with it.
    """
    row_frames = max(round(max_row_seconds * encoder.sampling_rate / encoder.hop_length), 1)
    wanted = {"sampling_rate": encoder.sampling_rate, "audio_channels": encoder.audio_channels}
    with open_item(example["audio"]) as reader:
        time = resampled_length(reader, encoder.sampling_rate)
        if time < 1:
            raise AudioDecodeError(f"it is too short for one sample at {encoder.sampling_rate} Hz.")

        def read(start: int, stop: int) -> Tensor:
            waveform = read_stretch(reader, start, stop - start, **wanted)
            return F.pad(waveform, (0, stop - start - waveform.shape[-1]))[None]  # what resampling rounded away

        start = 0
        for columns, frames in encoder.rows(read, time, row_frames):
            count = min(frames * encoder.hop_length, time - start)
            yield columns, frames, start, count, start + count >= time
            start += count
