"""What a data set of codes looks like: its columns, and the record of how it was made beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets

from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.data.latent_records import row_features


@dataclass(frozen=True, kw_only=True)
class CodesRecord(EncodingRecord):
    """How codes were made, and what there is of them.

    Args:
        hop_lengths (`list[int]`): Samples a frame of each level, finest first; a single one without levels.
        codebook_sizes (`list[list[int]]`): Codes in each codebook of each level.
        hierarchical (`bool`): Whether the model has levels: one column each then, `codes_0` the finest.
        code_counts (`list[list[int]]`, *optional*): How often each code is in the data set, codebook by codebook,
            level after level.
    """

    noun: ClassVar[str] = "codes"
    format: ClassVar[str] = "hf_audio_vae.code_dataset.v1"
    file: ClassVar[str] = "codes.json"
    outcomes: ClassVar[frozenset[str]] = EncodingRecord.outcomes | {"code_counts"}

    hop_lengths: list[int]
    codebook_sizes: list[list[int]]
    hierarchical: bool
    code_counts: list[list[int]] | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the columns of codes, one a level."""
        return [f"codes_{level}" for level in range(len(self.hop_lengths))] if self.hierarchical else ["codes"]

    @property
    def frame_rates(self) -> list[float]:
        """Frames a second of each level."""
        return [self.sampling_rate / hop_length for hop_length in self.hop_lengths]

    def counts_of(self, level: int) -> list[list[int]]:
        """Return how often each code of each codebook of a level is in the data set."""
        before = sum(len(sizes) for sizes in self.codebook_sizes[:level])
        return (self.code_counts or [])[before : before + len(self.codebook_sizes[level])]

    def description(self) -> str:
        """Say what the columns of codes hold."""
        levels = zip(self.columns, self.codebook_sizes, self.frame_rates, strict=True)
        told = ", ".join(f"`{name}` {len(sizes)} a frame at {rate:g} Hz" for name, sizes, rate in levels)
        return f"Codes of a {self.family} of shape (frames, num_codebooks), as many frames as the sound has: {told}."


def code_features(
    columns: Sequence[str], num_codebooks: Sequence[int], others: Mapping[str, Any]
) -> datasets.Features:
    """Return the columns of a data set of codes.

    Codes are (frames, num_codebooks) of each level. `path` names the item, `start_sample` and `num_samples` the
    stretch of it, at the model's rate, and `last` is whether the item ends with the row; `frames` counts those of the
    last level, the coarsest.

    Args:
        columns (`Sequence[str]`): Name of each level's column.
        num_codebooks (`Sequence[int]`): Codebooks of each.
        others (`Mapping`): Columns to keep of the source, by name.

    Raises:
        ValueError: The source has columns of these names.
    """
    shapes = zip(columns, num_codebooks, strict=True)
    encoded = {name: datasets.Array2D((None, count), "int32") for name, count in shapes}
    return row_features({**encoded, "last": datasets.Value("bool")}, others, "codes")
