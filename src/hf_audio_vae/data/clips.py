"""Waveforms from the items of a stream."""

import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import PurePath
from typing import TypedDict

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.audio.downmix import noticing_cancellation
from hf_audio_vae.audio.framing import units_of
from hf_audio_vae.audio.io import HIGHEST_PEAK, AudioDecodeError, AudioReader, check_peak, open_audio
from hf_audio_vae.audio.resampling import read_crop, resampled_length

# Between these peaks, samples that are whole numbers are integers in a type of fractions.
INTEGER_PEAKS = (100.0, HIGHEST_PEAK)


class EncodedItem(TypedDict):
    """Encoded audio as streamed by `datasets`; at least one field is set."""

    bytes: bytes | None
    path: str | None


def item_name(item: EncodedItem | None) -> str:
    """Name of an item in logs, in UTF-8: its path, or the checksum of its bytes."""
    if item is None or (item["path"] is None and item["bytes"] is None):
        return "row without audio"
    return as_utf8(item["path"] or f"bytes with crc32 {zlib.crc32(item['bytes'] or b''):08x}")


def as_utf8(path: str) -> str:
    """Escape the bytes of a path that are not UTF-8, which logs, tables and JSON cannot hold."""
    return path.encode(errors="backslashreplace").decode()


def open_item(item: EncodedItem | None, *, thorough: bool = False) -> AbstractContextManager[AudioReader]:
    """Open the audio of an item; raises like `open_audio`, and `AudioDecodeError` if there is none."""
    return open_audio(item_source(item), thorough=thorough)


def is_url(path: str) -> bool:
    """Whether fsspec opens a path, such as `hf://`, rather than the file system."""
    return "://" in path


def item_source(item: EncodedItem | None) -> bytes | str:
    """Return the encoded bytes of an item, or else its path; raises `AudioDecodeError` if it has neither."""
    source = None if item is None else item["bytes"] if item["bytes"] is not None else item["path"]
    if source is None:
        raise AudioDecodeError("it has neither bytes nor a path.")
    return source


def random_crop(
    item: EncodedItem | None, crop_length: int, seed: int, *, sampling_rate: int, audio_channels: int
) -> tuple[Tensor, int]:
    """Decode a random crop at an offset drawn from `seed`, uniform over all valid offsets.

    Args:
        item (`EncodedItem`, *optional*): Encoded audio; `None` for a row without audio, which cannot be decoded.
        crop_length (`int`): Length of the crop in samples; a shorter file is zero-padded.
        seed (`int`): Seed of the offset.
        sampling_rate (`int`): Target rate in Hz.
        audio_channels (`int`): Target number of channels.

    Returns:
        The waveform (audio_channels, crop_length), float32, and the offset of the crop in samples.

    Raises:
        AudioDecodeError: The item cannot be decoded, its channels cannot be converted, or it is not finite.
        OSError: The file cannot be opened.
    """
    with open_item(item) as opened, noticing_cancellation(opened, audio_channels, partial(item_name, item)) as reader:
        surplus = resampled_length(reader, sampling_rate) - crop_length
        start = int(np.random.default_rng(seed).integers(surplus + 1)) if surplus > 0 else 0
        count = min(crop_length, crop_length + surplus)
        crop = read_checked_crop(reader, start, count, sampling_rate=sampling_rate, audio_channels=audio_channels)
    return F.pad(crop, (0, crop_length - crop.shape[-1])), start


def clip_starts(
    stream: datasets.IterableDataset,
    *,
    sampling_rate: int,
    audio_channels: int,
    max_seconds: float,
    skipped: dict[str, str] | None = None,
    option: str = "max_seconds",
) -> Iterator[tuple[str, Tensor]]:
    """Decode the start of every item in order, for validation.

    Args:
        stream (`datasets.IterableDataset`): From `load_audio_stream`.
        sampling_rate (`int`): Target rate in Hz.
        audio_channels (`int`): Target number of channels.
        max_seconds (`float`): Maximum length; longer items are cut.
        skipped (`dict[str, str]`, *optional*): Gets the items that cannot be read, with the reasons.
        option (`str`): Name of `max_seconds` in messages.

    Yields:
        A name, and a waveform (audio_channels, time).

    Raises:
        AudioDecodeError: An item cannot be decoded, and `skipped` is not given.
        OSError: An item cannot be opened, and `skipped` is not given.
        ValueError: `max_seconds` is less than one sample, or not finite.
    """
    longest = units_of(option, max_seconds, sampling_rate)
    for row, example in enumerate(stream):
        item = example["audio"]
        name = item_name(item) if item else f"row {row} without audio"
        try:
            with (
                open_item(item) as opened,
                noticing_cancellation(opened, audio_channels, partial(str, name)) as reader,
            ):
                count = min(longest, resampled_length(reader, sampling_rate))
                clip = read_checked_crop(reader, 0, count, sampling_rate=sampling_rate, audio_channels=audio_channels)
        except (AudioDecodeError, OSError) as error:
            if skipped is not None:
                skipped[name] = str(error)
                continue
            if isinstance(error, OSError):
                raise
            raise AudioDecodeError(f"{name}: {error}") from error
        yield PurePath(name).stem, clip


def read_checked_crop(
    reader: AudioReader, start: int, count: int, *, sampling_rate: int, audio_channels: int
) -> Tensor:
    """Read a crop and check its length and values.

    Args:
        reader (`AudioReader`): An opened file.
        start (`int`): First sample, counted at `sampling_rate`.
        count (`int`): Number of samples.
        sampling_rate (`int`): Target rate in Hz.
        audio_channels (`int`): Target number of channels.

    Returns:
        Finite samples, (audio_channels, count); resampling may drop the file's last sample.

    Raises:
        AudioDecodeError: The file is shorter than it claims, not finite, far too loud, of integers as fractions, or
            its channels cannot be converted.
    """
    if count < 1:
        raise AudioDecodeError(f"it is too short for one sample at {sampling_rate} Hz.")
    try:
        waveform = read_crop(reader, start, count, sampling_rate=sampling_rate, audio_channels=audio_channels)
    except ValueError as error:
        raise AudioDecodeError(str(error)) from error
    if not bool(torch.isfinite(waveform).all()):
        raise AudioDecodeError("it holds NaN or infinite samples.")
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    check_peak(peak)
    if INTEGER_PEAKS[0] < peak <= INTEGER_PEAKS[1] and _has_whole_numbers(reader):
        raise AudioDecodeError(f"its peak is {peak:.0f}, and full scale is 1; divide 16-bit samples by 32768.")
    if waveform.shape[-1] < max(count - 1, 1):  # resampling may drop one sample
        # A truncated mp3 still claims its full length; its missing end would be read as silence.
        raise AudioDecodeError(f"it ends after {start + waveform.shape[-1]} samples, before the length in its header.")
    return waveform


def _has_whole_numbers(reader: AudioReader) -> bool:
    samples = reader.read(0, min(reader.num_samples, 4096))
    return torch.equal(samples, samples.round())
