"""Random crops of pre-encoded latents with their conditioning."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.data.encoded_files import stream_files
from hf_audio_vae.data.streaming import BadItemError, ItemStream, Origin, StreamBatch

NO_CLASS = -1  # class label of an item without a class

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LatentCrop:
    """A crop of a posterior.

    Args:
        mean (`torch.Tensor` of shape `(latent_channels, frames)`): Expected value.
        std (`torch.Tensor`, same shape): Standard deviation.
        class_label (`int`, *optional*): Index of the class; -1 for an item without a class in a data set of classes.
        prompt (`str`, *optional*): Text; empty for an item without a text in a data set of texts.
    """

    mean: Tensor
    std: Tensor
    class_label: int | None = None
    prompt: str | None = None


@dataclass
class LatentBatch(StreamBatch):
    """A batch of posteriors, padded with zeros.

    Args:
        origin (`Origin`): Origin of the samples.
        mean (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Expected value.
        std (`torch.Tensor`, same shape): Standard deviation.
        mask (`torch.Tensor` of shape `(batch, frames)`): Bool, True for valid frames.
        lengths (`list[int]`): Frames of each item.
        frame_rate (`float`): Frames per second.
        class_labels (`torch.Tensor` of shape `(batch,)`, *optional*): Int64, class of each item; -1 for none.
        prompts (`list[str]`, *optional*): Text of each item; empty for none.
    """

    mean: Tensor
    std: Tensor
    mask: Tensor
    lengths: list[int]
    frame_rate: float
    class_labels: Tensor | None = None
    prompts: list[str] | None = None

    @property
    def durations(self) -> Tensor:
        """Seconds of each item, (batch,)."""
        return self.mask.sum(dim=1) / self.frame_rate

    @property
    def seconds(self) -> float:
        """Total seconds of sound of all items."""
        return sum(self.lengths) / self.frame_rate

    def to(self, device: torch.device) -> "LatentBatch":
        """Return the batch on another device."""
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "LatentBatch":
        """Return the batch in page-locked memory; the `DataLoader` calls this."""
        return self._with_tensors(Tensor.pin_memory)

    def _with_tensors(self, change: Callable[[Tensor], Tensor]) -> "LatentBatch":
        labels = None if self.class_labels is None else change(self.class_labels)
        mean, std, mask = map(change, (self.mean, self.std, self.mask))
        return replace(self, mean=mean, std=std, mask=mask, class_labels=labels)


def collate_latents(crops: Sequence[LatentCrop], origin: Origin, frame_rate: float) -> LatentBatch:
    """Pad crops to the longest and stack them; either all or none have a class, and likewise a text."""
    lengths = [crop.mean.shape[1] for crop in crops]
    frames = max(lengths)
    labels = [crop.class_label for crop in crops if crop.class_label is not None]
    prompts = [crop.prompt for crop in crops if crop.prompt is not None]
    return LatentBatch(
        origin,
        mean=torch.stack([F.pad(crop.mean, (0, frames - crop.mean.shape[1])) for crop in crops]),
        std=torch.stack([F.pad(crop.std, (0, frames - crop.std.shape[1])) for crop in crops]),
        mask=torch.arange(frames)[None] < torch.tensor(lengths)[:, None],
        lengths=lengths,
        frame_rate=frame_rate,
        class_labels=torch.tensor(labels) if labels else None,
        prompts=prompts or None,
    )


def load_latent_stream(
    dataset_name: str, *, split: str = "train", revision: str | None = None
) -> datasets.IterableDataset:
    """Stream a data set that `hf-audio-vae encode-dataset` wrote, from a folder or the Hub; its values are tensors.

    Raises:
        ValueError: A file is damaged; the message names it. It may also be raised during iteration.
    """
    return stream_files(dataset_name, split=split, revision=revision).with_format("torch")


def class_names(
    stream: datasets.IterableDataset, label_column: str | None, *, dataset_name: str = "the data set"
) -> tuple[str, ...]:
    """Return the classes of a column: the names of a `ClassLabel`, or all its values, sorted, after one pass.

    Args:
        stream (`datasets.IterableDataset`): From `load_latent_stream`.
        label_column (`str`, *optional*): Column of classes; without one, there are none.
        dataset_name (`str`): Name of the data set in messages.

    Raises:
        ValueError: The column is missing, has no values, or has values that name no class.
    """
    if label_column is None:
        return ()
    _check_column(stream, label_column, "label_column", dataset_name)
    feature = stream.features[label_column]
    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    if not isinstance(feature, datasets.Value):
        raise ValueError(
            f"`label_column` {label_column!r} of {dataset_name} holds values of type {feature}; name a column of "
            f"texts or numbers, or encode the data with one."
        )
    rows = stream.select_columns([label_column]).with_format(None)
    try:
        names = [class_name(row[label_column]) for row in rows]
    except BadItemError as error:
        raise ValueError(f"`label_column` {label_column!r} of {dataset_name}: {error}") from error
    if missing := names.count(None):
        logger.info("%d of %d rows have no `%s` and train without a class", missing, len(names), label_column)
    if missing == len(names):
        raise ValueError(f"`label_column` {label_column!r} of {dataset_name} holds no classes; leave the option out.")
    return tuple(sorted({name for name in names if name is not None}))


def class_name(value: object) -> str | None:
    """Return the name of a class: its text or number; `None` if there is none (`None`, NaN or an empty text).

    Bytes are read as UTF-8; others raise `BadItemError`. A whole number is written without a point, because gaps in a
    column turn whole numbers into floats.
    """
    value = value.item() if isinstance(value, Tensor) else _decoded(value)
    if isinstance(value, float):
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    return None if value is None or value == "" else str(value)


def _decoded(value: object) -> object:
    """Return the text of bytes, and any other value as it is; raises `BadItemError`."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise BadItemError(f"{value!r} is not text in UTF-8; convert it and encode the data again.") from error


def _check_column(stream: datasets.IterableDataset, column: str, option: str, dataset_name: str) -> None:
    if column not in stream.features:
        raise ValueError(
            f"`{option}` {column!r} is not a column of {dataset_name}; its columns are {sorted(stream.features)}."
        )


@dataclass(eq=False, kw_only=True)
class LatentStream(ItemStream[LatentCrop, LatentBatch]):
    """Endless batches of random crops of latents from a streamed data set.

    Options of batches, order and processes are those of `ItemStream`.

    Args:
        source (`datasets.IterableDataset`): From `load_latent_stream`.
        frame_rate (`float`): Latent frames per second.
        segment_frames (`int`): Maximum frames per crop; a shorter row is used whole.
        label_column (`str`, *optional*): Column of classes. An item without one trains without a class.
        class_names (`tuple[str, ...]`): Classes that `label_column` may contain.
        text_column (`str`, *optional*): Column of texts. An item without one trains without a text.
        dataset_name (`str`): Name of the data set in messages.

    Raises:
        ValueError: A column is missing.
    """

    frame_rate: float
    segment_frames: int
    label_column: str | None = None
    class_names: tuple[str, ...] = ()
    text_column: str | None = None
    dataset_name: str = "the data set"

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, column in (("label_column", self.label_column), ("text_column", self.text_column)):
            if column is not None:
                _check_column(self.source, column, option, self.dataset_name)

    @property
    def segment_length(self) -> int:
        """Frames per crop."""
        return self.segment_frames

    def name(self, example: Mapping[str, Any]) -> str:
        """Return the path of the item and the offset of the row in it."""
        return f"{example['path']} from sample {int(example['start_sample'])}"

    def read(self, example: Mapping[str, Any], seed: int) -> LatentCrop:
        """Return a random crop."""
        surplus = len(example["mean"]) - self.segment_frames
        start = int(np.random.default_rng(seed).integers(surplus + 1)) if surplus > 0 else 0
        return self.crop(example, start)

    def crop(self, example: Mapping[str, Any], start: int) -> LatentCrop:
        """Return the crop from frame `start` on."""
        # (frames, latent_channels) -> (latent_channels, frames)
        stop = start + self.segment_frames
        mean, std = (example[name][start:stop].T.float().contiguous() for name in ("mean", "std"))
        if not bool(mean.isfinite().all() and std.isfinite().all()):
            raise BadItemError("its latents are NaN or infinite; encode it again in float32.")
        return LatentCrop(mean, std, self._class_label(example), self._prompt(example))

    def collate(self, samples: list[LatentCrop], origin: Origin) -> LatentBatch:
        """Pad and stack crops."""
        return collate_latents(samples, origin, self.frame_rate)

    def _class_label(self, example: Mapping[str, Any]) -> int | None:
        """Return the class; -1 if the item has none, so that it trains without one, as items of dropped conditions."""
        if self.label_column is None:
            return None
        name = class_name(example[self.label_column])
        feature = self.source.features[self.label_column]
        if isinstance(feature, datasets.ClassLabel) and name is not None:
            # Another data set may number classes differently. -1 is no class by the convention of `datasets`.
            names = {str(index): text for index, text in enumerate(feature.names)} | {"-1": None}
            name = names.get(name, name)
        if name is None:
            return NO_CLASS
        if name not in self.class_names:
            raise BadItemError(f"its `{self.label_column}` is {name!r}, none of {list(self.class_names)}.")
        return self.class_names.index(name)

    def _prompt(self, example: Mapping[str, Any]) -> str | None:
        """Return the text; an empty one if the item has none, so that it trains without one."""
        if self.text_column is None:
            return None
        text = _decoded(example[self.text_column])
        if text is None or (isinstance(text, Tensor) and text.isnan().all()):
            return ""
        if not isinstance(text, str):
            raise BadItemError(f"its `{self.text_column}` is {text!r}, which is not a string.")
        return text
