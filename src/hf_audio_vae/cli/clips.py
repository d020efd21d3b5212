"""Waveforms of a data set for the commands that measure a model."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets
from torch import Tensor

from hf_audio_vae.data import clip_starts, load_audio_stream, split_held_out
from hf_audio_vae.data.clips import item_name
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.pipelines import CodeLatents


def read_clips(
    model: AutoencoderModel | CodeLatents, arguments: argparse.Namespace, skipped: dict[str, str]
) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each item of the data set of `add_dataset_arguments`, and its start, (audio_channels, time).

    Prints one line on stderr that says which data is used. Items that cannot be read are added to `skipped`.
    """
    yield from clip_starts(
        open_dataset(arguments),
        sampling_rate=model.sampling_rate,
        audio_channels=model.config.audio_channels,
        max_seconds=arguments.max_seconds,
        skipped=skipped,
    )


@dataclass(frozen=True)
class LabelledClip:
    """The start of an item.

    Args:
        path (`str`): Path of the item, or another name in logs.
        name (`str`): Name without folders and ending.
        label (`object`): Value of --label_column, a name for that of a class; `None` if the item has none.
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): At the rate of the model.
    """

    path: str
    name: str
    label: object
    waveform: Tensor


def labelled_clips(
    stream: Iterable[Mapping[str, Any]],
    model: AutoencoderModel | CodeLatents,
    arguments: argparse.Namespace,
    skipped: dict[str, str],
) -> Iterator[LabelledClip]:
    """Yield the start of each item of a stream with its label.

    Args:
        stream (`Iterable`): Rows with `audio`, such as of `open_dataset`.
        model (`AutoencoderModel`): Its rate and channels are those of the clips.
        arguments (`argparse.Namespace`): `label_column` (`None` for no labels) and `max_seconds`.
        skipped (`dict[str, str]`): Gets the items that cannot be read, with the reasons.

    Raises:
        ValueError: There is no such column.
    """
    label_of = label_reader(stream, arguments.label_column)
    for example in stream:
        found = clip_starts(
            [example],
            sampling_rate=model.sampling_rate,
            audio_channels=model.config.audio_channels,
            max_seconds=arguments.max_seconds,
            skipped=skipped,
        )
        for name, clip in found:
            yield LabelledClip(item_name(example["audio"]), name, label_of(example), clip)


def label_reader(stream: Iterable[Mapping[str, Any]], column: str | None) -> Callable[[Mapping[str, Any]], object]:
    """Return a function that returns the label of a row, a name for that of a class; `None` if the row has none."""
    classes = (getattr(stream, "features", None) or {}).get(column)

    def label_of(example: Mapping[str, Any]) -> object:
        label = None if column is None else _label(example, column)
        if isinstance(classes, datasets.ClassLabel):
            return None if label in (None, -1) else classes.int2str(label)
        return label

    return label_of


def _label(example: Mapping[str, Any], column: str) -> object:
    """Return the label of an item, `None` for NaN or an empty text; raises `ValueError` if the column is missing."""
    if column not in example:
        columns = ", ".join(sorted(example))
        raise ValueError(f"the data has no column {column!r} for --label_column; it has {columns}.")
    label = example[column]
    return None if label != label or label in ("", b"") else label


def open_dataset(
    arguments: argparse.Namespace, *, announces: bool = True, keep_columns: bool = False
) -> datasets.IterableDataset:
    """Open the data set of `add_dataset_arguments`.

    Args:
        arguments (`argparse.Namespace`): Arguments.
        announces (`bool`): Print one line on stderr that says which data is used.
        keep_columns (`bool`): Keep the columns beside the audio.
    """
    stream = load_audio_stream(
        arguments.dataset_name,
        config_name=arguments.dataset_config_name,
        split=arguments.dataset_split,
        data_files=arguments.data_files,
        audio_column=arguments.audio_column,
        revision=arguments.dataset_revision,
        keep_columns=keep_columns,
        announce=(lambda line: print(line, file=sys.stderr)) if announces else (lambda line: None),
    )
    share = getattr(arguments, "held_out_share", None)
    return stream if share is None else split_held_out(stream, share, arguments.dataset_name)[1]


def check_items(arguments: argparse.Namespace, measured: int, skipped: Mapping[str, str]) -> int:
    """Name the skipped items on stderr and return the exit code: 1 if there are any.

    Raises:
        ValueError: No item could be read.
    """
    reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
    reasons += "; ..." if len(skipped) > 3 else ""
    if not measured:
        raise ValueError(
            f"{arguments.dataset_name!r}, split {arguments.dataset_split!r}, "
            + (f"holds no items that can be read: {reasons}" if skipped else "holds no items; check both.")
        )
    if skipped:
        total = measured + len(skipped)
        print(f"{len(skipped)} of {total} items cannot be used and are not measured: {reasons}", file=sys.stderr)
    return 1 if skipped else 0
