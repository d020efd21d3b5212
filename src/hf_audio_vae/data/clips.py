"""One item of a stream to one waveform."""

import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import PurePath
from typing import TypedDict

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.audio.io import AudioDecodeError, AudioReader, open_audio
from hf_audio_vae.audio.resampling import read_crop, resampled_length


class EncodedItem(TypedDict):
    """Encoded audio as `datasets` streams it; one of the two is there."""

    bytes: bytes | None
    path: str | None


def item_name(item: EncodedItem) -> str:
    """What a log calls an item: its path, or the checksum of its bytes."""
    return item["path"] or f"bytes with crc32 {zlib.crc32(item['bytes'] or b''):08x}"


def open_item(item: EncodedItem) -> AbstractContextManager[AudioReader]:
    """Open an item's sound; raises as `open_audio`, and `AudioDecodeError` if there is none."""
    return open_audio(item_source(item))


def item_source(item: EncodedItem) -> bytes | str:
    """Return the encoded bytes of an item, or else its path; an `AudioDecodeError` if it has neither."""
    source = item["bytes"] if item["bytes"] is not None else item["path"]
    if source is None:
        raise AudioDecodeError("the item has neither bytes nor a path.")
    return source


def random_crop(
    item: EncodedItem, crop_length: int, seed: int, *, sampling_rate: int, audio_channels: int
) -> tuple[Tensor, int]:
    """Decode one stretch at a place drawn from `seed`, uniform over all that fit.

    Args:
        item (`EncodedItem`): Encoded audio.
        crop_length (`int`): Samples wanted; a shorter file is continued with silence.
        seed (`int`): Decides the place.
        sampling_rate (`int`): Rate wanted, in Hz.
        audio_channels (`int`): Channels wanted.

    Returns:
        The waveform (audio_channels, crop_length), float32, and the sample its crop starts at.

    Raises:
        AudioDecodeError: The item cannot be decoded, has channels that cannot be converted, or is not finite.
        OSError: The file cannot be opened.
    """
    with open_item(item) as reader:
        surplus = resampled_length(reader, sampling_rate) - crop_length
        start = int(np.random.default_rng(seed).integers(surplus + 1)) if surplus > 0 else 0
        count = min(crop_length, crop_length + surplus)
        crop = read_stretch(reader, start, count, sampling_rate=sampling_rate, audio_channels=audio_channels)
    return F.pad(crop, (0, crop_length - crop.shape[-1])), start


def whole_clips(
    stream: datasets.IterableDataset, *, sampling_rate: int, audio_channels: int, max_seconds: float
) -> Iterator[tuple[str, Tensor]]:
    """Decode the start of every item, in order: the fixed material of a validation.

    Args:
        stream (`datasets.IterableDataset`): From `load_audio_stream`.
        sampling_rate (`int`): Rate wanted, in Hz.
        audio_channels (`int`): Channels wanted.
        max_seconds (`float`): Where to cut longer items.

    Yields:
        A name, and a waveform (audio_channels, time).

    Raises:
        AudioDecodeError: An item cannot be decoded: validation material has to be whole.
    """
    for example in stream:
        item = example["audio"]
        try:
            with open_item(item) as reader:
                count = min(round(max_seconds * sampling_rate), resampled_length(reader, sampling_rate))
                clip = read_stretch(reader, 0, count, sampling_rate=sampling_rate, audio_channels=audio_channels)
        except AudioDecodeError as error:
            raise AudioDecodeError(f"{item_name(item)}: {error}") from error
        yield PurePath(item_name(item)).stem, clip


def read_stretch(reader: AudioReader, start: int, count: int, *, sampling_rate: int, audio_channels: int) -> Tensor:
    """Read a stretch and hold the file to its word.

    Args:
        reader (`AudioReader`): An opened file.
        start (`int`): First sample wanted, counted at `sampling_rate`.
        count (`int`): Samples wanted.
        sampling_rate (`int`): Rate wanted, in Hz.
        audio_channels (`int`): Channels wanted.

    Returns:
        Finite samples, (audio_channels, count); resampling may round the file's last one away.

    Raises:
        AudioDecodeError: There are fewer samples than the file claims, or they are not finite or cannot be converted.
    """
    if count < 1:
        raise AudioDecodeError(f"it is too short for one sample at {sampling_rate} Hz.")
    try:
        waveform = read_crop(reader, start, count, sampling_rate=sampling_rate, audio_channels=audio_channels)
    except ValueError as error:
        raise AudioDecodeError(str(error)) from error
    if not bool(torch.isfinite(waveform).all()):
        raise AudioDecodeError("it holds NaN or infinite samples.")
    if waveform.shape[-1] < max(count - 1, 1):  # resampling may round one away
        # A cut mp3 goes on claiming its full length; its end would be taken for silence.
        raise AudioDecodeError(f"it ends {start + waveform.shape[-1]} samples in, before the length it claims.")
    return waveform
