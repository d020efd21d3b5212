"""Waveforms of a data set for the commands that measure a model."""

import argparse
import sys
from collections.abc import Iterator, Mapping

from torch import Tensor

from hf_audio_vae.data import load_audio_stream, whole_clips
from hf_audio_vae.models import AutoencoderModel


def read_clips(model: AutoencoderModel, arguments: argparse.Namespace, skipped: dict[str, str]) -> Iterator[Tensor]:
    """Yield the start of each item of the data set of `add_dataset_arguments`, (audio_channels, time).

    Prints one line on stderr that says which data is used. Items that cannot be read are added to `skipped`.
    """
    stream = load_audio_stream(
        arguments.dataset_name,
        config_name=arguments.dataset_config_name,
        split=arguments.dataset_split,
        data_files=arguments.data_files,
        audio_column=arguments.audio_column,
        revision=arguments.dataset_revision,
        announce=lambda line: print(line, file=sys.stderr),
    )
    for _, clip in whole_clips(
        stream,
        sampling_rate=model.sampling_rate,
        audio_channels=model.config.audio_channels,
        max_seconds=arguments.max_seconds,
        skipped=skipped,
    ):
        yield clip


def check_complete(arguments: argparse.Namespace, measured: int, skipped: Mapping[str, str]) -> None:
    """Raise `ValueError` if items were skipped, or if there were none."""
    if skipped:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        raise ValueError(
            f"{len(skipped)} of {measured + len(skipped)} items cannot be read, and the figures are without them: "
            f"{reasons}{'; ...' if len(skipped) > 3 else ''}"
        )
    if not measured:
        raise ValueError(f"{arguments.dataset_name!r}, split {arguments.dataset_split!r}, holds no items; check both.")
