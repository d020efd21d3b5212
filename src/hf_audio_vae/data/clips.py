"""One item of a stream to one waveform."""

import zlib
from collections.abc import Iterator
from pathlib import PurePath
from typing import TypedDict

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.audio.io import AudioDecodeError, open_audio
from hf_audio_vae.audio.resampling import read_crop, resampled_length


class EncodedItem(TypedDict):
    """Encoded audio as `datasets` streams it; one of the two is there."""

    bytes: bytes | None
    path: str | None


def item_name(item: EncodedItem) -> str:
    """What a log calls an item: its path, or the checksum of its bytes."""
    return item["path"] or f"bytes with crc32 {zlib.crc32(item['bytes'] or b''):08x}"


def item_seed(item: EncodedItem, seed: int, epoch: int) -> int:
    """A number that depends on the run's seed, the epoch and the item, and not on when or where the item is read."""
    identity = item["bytes"] or PurePath(item["path"] or "").name.encode()
    return int(np.random.SeedSequence([seed, epoch, zlib.crc32(identity)]).generate_state(1, np.uint64)[0] >> 1)


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
    source = item["bytes"] if item["bytes"] is not None else item["path"]
    if source is None:
        raise AudioDecodeError("the item has neither bytes nor a path.")
    with open_audio(source) as reader:
        surplus = resampled_length(reader, sampling_rate) - crop_length
        start = int(np.random.default_rng(seed).integers(surplus + 1)) if surplus > 0 else 0
        try:
            crop = read_crop(reader, start, crop_length, sampling_rate=sampling_rate, audio_channels=audio_channels)
        except ValueError as error:
            raise AudioDecodeError(str(error)) from error
    if not bool(torch.isfinite(crop).all()):
        raise AudioDecodeError("it holds NaN or infinite samples.")
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
        source = item["bytes"] if item["bytes"] is not None else item["path"]
        with open_audio(source) as reader:
            count = min(round(max_seconds * sampling_rate), resampled_length(reader, sampling_rate))
            crop = read_crop(reader, 0, count, sampling_rate=sampling_rate, audio_channels=audio_channels)
        yield PurePath(item_name(item)).stem, crop
