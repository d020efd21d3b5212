"""The `distances` command."""

import argparse
import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from hf_audio_vae.cli.clips import check_items, open_dataset
from hf_audio_vae.cli.sound import check_seconds
from hf_audio_vae.cli.tables import print_remark, print_table
from hf_audio_vae.data import clip_starts
from hf_audio_vae.evaluation.embeddings import Embedding, embed, embedding_of
from hf_audio_vae.evaluation.set_distances import (
    EmbeddingStatistics,
    frechet_distance,
    kernel_distance,
    median_distance,
)

COLUMNS = {"distance": "distance", "generated": "generated", "halves": "halves of the data"}
LEAST_ITEMS = 4  # of the data, since each half needs two


def run(arguments: argparse.Namespace) -> int:
    """Run the command. Return 1 if some items cannot be read."""
    check_seconds(arguments.max_seconds)
    if not arguments.generated.is_dir():
        raise ValueError(f"there is no folder {arguments.generated}; name one with generated sounds.")
    embeddings = [embedding_of(name, sampling_rate=arguments.sampling_rate) for name in arguments.embeddings]
    sounds = copy.copy(arguments)
    for name in ("dataset_config_name", "dataset_revision", "data_files", "audio_column"):
        setattr(sounds, name, None)
    sounds.dataset_name, sounds.dataset_split = str(arguments.generated), "all"
    generated, code = embedded_items(sounds, embeddings)
    items, code_of_data = embedded_items(arguments, embeddings)
    if len(items) < LEAST_ITEMS:
        raise ValueError(f"{arguments.dataset_name} has {len(items)} items; give {LEAST_ITEMS} or more.")
    print_table(COLUMNS, rows_of(embeddings, generated, items), arguments.format)
    print_remark(
        f"{len(generated)} generated sounds and {len(items)} items of {arguments.dataset_name}, at most "
        f"{arguments.max_seconds:g} s each, at {arguments.sampling_rate} Hz",
        arguments.format,
    )
    return max(code, code_of_data)


@torch.no_grad()
def embedded_items(arguments: argparse.Namespace, embeddings: Sequence[Embedding]) -> tuple[list[list[Tensor]], int]:
    """Return the vectors (frames, dim) of each embedding for each item of a data set, and an exit code."""
    rate, skipped = arguments.sampling_rate, dict[str, str]()
    clips = clip_starts(
        open_dataset(arguments),
        sampling_rate=rate,
        audio_channels=1,
        max_seconds=arguments.max_seconds,
        skipped=skipped,
    )
    items = [[embed(embedding, clip, rate) for embedding in embeddings] for _, clip in clips]
    return items, check_items(arguments, len(items), skipped)


def rows_of(
    embeddings: Sequence[Embedding], generated: Sequence[Sequence[Tensor]], items: Sequence[Sequence[Tensor]]
) -> list[list[str | float]]:
    """Return the distances of the generated sounds from the items, and of their halves from each other."""
    rows: list[list[str | float]] = []
    for index, embedding in enumerate(embeddings):
        sounds, data, first, second = (
            torch.cat([item[index] for item in part]) for part in (generated, items, items[::2], items[1::2])
        )
        bandwidth = median_distance(data)  # the same for both columns
        pairs = ((sounds, data), (first, second))
        rows.append([f"KAD {embedding.name} (↓)", *(kernel_distance(*pair, bandwidth=bandwidth) for pair in pairs)])
        if min(len(vectors) for pair in pairs for vectors in pair) > data.shape[1]:  # else no covariance
            sets = [[EmbeddingStatistics.of(vectors) for vectors in pair] for pair in pairs]
            rows.append([f"FAD {embedding.name} (↓)", *(frechet_distance(*pair) for pair in sets)])
    return rows
