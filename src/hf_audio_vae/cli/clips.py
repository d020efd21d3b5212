"""Waveforms of a data set for the commands that measure a model."""

import argparse
import sys
from collections.abc import Iterator, Mapping

import datasets
from torch import Tensor

from hf_audio_vae.data import clip_starts, load_audio_stream
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


def open_dataset(
    arguments: argparse.Namespace, *, announces: bool = True, keep_columns: bool = False
) -> datasets.IterableDataset:
    """Open the data set of `add_dataset_arguments`.

    Args:
        arguments (`argparse.Namespace`): Arguments.
        announces (`bool`): Print one line on stderr that says which data is used.
        keep_columns (`bool`): Keep the columns beside the audio.
    """
    return load_audio_stream(
        arguments.dataset_name,
        config_name=arguments.dataset_config_name,
        split=arguments.dataset_split,
        data_files=arguments.data_files,
        audio_column=arguments.audio_column,
        revision=arguments.dataset_revision,
        keep_columns=keep_columns,
        announce=(lambda line: print(line, file=sys.stderr)) if announces else (lambda line: None),
    )


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
