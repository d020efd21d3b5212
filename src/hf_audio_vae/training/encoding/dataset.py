"""Parallel and resumable encoding of an audio data set into latents or codes.

Memory for latents does not depend on the items' length. Memory for codes grows with the longest item: see
`row_encoders`.

The unit of work is a file: `items_per_file` consecutive items of one shard of the source. Its content depends on
nothing else, so any number of processes write the same files. A file is written under a hidden name and renamed, so an
existing file is complete. The footer of a file has its items and the statistics of its rows. They are summed at the
end, in the order of the files, so the result is bit-identical after any number of interruptions. `resuming` compares
the files with a source that may have changed.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import datasets
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.audio.downmix import noticing_cancellation
from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.audio.io import AudioDecodeError, AudioReader
from hf_audio_vae.audio.resampling import resampled_length
from hf_audio_vae.data.clips import EncodedItem, is_url, open_item, read_checked_crop
from hf_audio_vae.data.encoded_files import RowWriter, data_files, read_footer
from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.training.encoding.resuming import PreviousRows, identify, shard_files
from hf_audio_vae.training.encoding.row_encoders import RowEncoder, row_encoder
from hf_audio_vae.training.encoding.tallies import Item, Tally

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
    encoder = row_encoder(model, record)
    features = row_features(source, encoder)
    previous = PreviousRows(folder, features, list(encoder.features({})))
    (folder / "data").mkdir(parents=True, exist_ok=True)
    encoded = 0.0
    for path, examples in _files(source, folder / "data", record.items_per_file, rank, world_size):
        total = Tally()
        with RowWriter(path, features) as writer:
            for example in examples:
                item = identify(example, record.source.get("dataset_name", ""))
                rows = previous.read(item) if item in previous else _encode_rows(encoder, example, item, record)
                _write_item(writer, encoder, item, example, rows, total, progress)
            writer.finish(total.to_json())
        encoded += total.seconds
    return encoded


def row_features(source: datasets.IterableDataset, encoder: RowEncoder) -> datasets.Features:
    """Return the columns of the files: those of the encoder and those of the source other than the audio.

    Raises:
        ValueError: The columns of the source are unknown, or collide with the encoder's.
    """
    if source.features is None:
        raise ValueError(
            "the columns of the data set are unknown before reading; use parquet, or a data set with a schema."
        )
    return encoder.features({name: feature for name, feature in source.features.items() if name != "audio"})


def tally(folder: Path) -> Tally:
    """Sum the tallies of all files, in the files' order."""
    total = Tally()
    for path in data_files(folder):
        total.add(Tally.from_json(read_footer(path)))
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
        for name, items in shard_files(source, shard, items_per_file):
            if (by_shard or file_index % world_size == rank) and not (folder / name).exists():
                yield folder / name, items
            file_index += 1


def _write_item(
    writer: RowWriter,
    encoder: RowEncoder,
    item: Item,
    example: Mapping[str, Any],
    rows: Iterator[Row],
    total: Tally,
    progress: Callable[[float], object],
) -> None:
    """Write the rows of an item up to the first decoding error, and add them to the tally of the file."""
    written = 0
    try:
        for row in rows:
            writer.write({**row, **example})
            encoder.measure({name: torch.from_numpy(row[name]) for name in encoder.columns}, total)
            seconds = int(row["num_samples"]) / encoder.sampling_rate
            total.seconds += seconds
            progress(seconds)
            written += 1
    except AudioDecodeError as error:
        total.bad_items += 1
        total.skipped[item.name] = str(error)
    total.rows += written
    total.items += written > 0
    total.made_of.append((item, written))


@contextmanager
def _opened(item: EncodedItem | None) -> Iterator[AudioReader]:
    """Open an item. A file that cannot be read is skipped; a network error ends the run, which can be resumed."""
    with ExitStack() as stack:
        try:
            reader = stack.enter_context(open_item(item, thorough=True))
        except OSError as error:
            if item is None or is_url(item["path"] or ""):
                raise
            raise AudioDecodeError(str(error)) from error
        yield reader


def _encode_rows(encoder: RowEncoder, example: Mapping[str, Any], item: Item, record: EncodingRecord) -> Iterator[Row]:
    """Yield the rows of an item, of at most `max_row_seconds`, without the other columns of the source.

    Raises:
        AudioDecodeError: The item, or the rest of it, cannot be decoded or encoded.
        OSError: The item is behind a URL and cannot be opened.
    """
    frame_rate = encoder.sampling_rate / encoder.hop_length
    row_frames = units_of("max_row_seconds", record.max_row_seconds, frame_rate, "frame", at_most=True)
    audio_format = {"sampling_rate": encoder.sampling_rate, "audio_channels": encoder.audio_channels}
    with (
        _opened(example["audio"]) as opened,
        noticing_cancellation(opened, encoder.audio_channels, lambda: item.name) as reader,
    ):
        time = resampled_length(reader, encoder.sampling_rate)
        if time < 1:
            raise AudioDecodeError(f"the audio is shorter than one sample at {encoder.sampling_rate} Hz.")

        def read(start: int, stop: int) -> Tensor:
            waveform = read_checked_crop(reader, start, stop - start, **audio_format)
            missing = stop - start - waveform.shape[-1]  # samples lost to rounding in resampling
            return F.pad(waveform, (0, missing))[None]

        start = 0
        for columns, frames in encoder.rows(read, time, row_frames):
            count = min(frames * encoder.hop_length, time - start)
            place = {"path": item.name, "start_sample": start, "num_samples": count, "last": start + count >= time}
            yield {name: value.numpy() for name, value in columns.items()} | {"frames": frames} | place
            start += count
