"""Format of a data set of codes: its columns, and the record of its encoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import datasets

from hf_audio_vae.data.encoding_records import EncodingRecord
from hf_audio_vae.data.latent_records import row_features


@dataclass(frozen=True, kw_only=True)
class CodesRecord(EncodingRecord):
    """Settings and results of encoding a data set to codes.

    Args:
        hop_lengths (`list[int]`): Samples per frame of each level, finest first; one element without levels.
        codebook_sizes (`list[list[int]]`): Number of codes of each codebook of each level.
        hierarchical (`bool`): Whether the model has levels, with one column each; `codes_0` is the finest.
        code_counts (`list[list[int]]`, *optional*): Count of each code in the data set for each codebook, level by
            level.
    """

    noun: ClassVar[str] = "codes"
    format: ClassVar[str] = "hf_audio_vae.code_dataset.v1"
    writers: ClassVar[str] = (
        "`hf-audio-vae encode-dataset`, or those of scores with `training/corpora/scores.py` of the repository"
    )
    file: ClassVar[str] = "codes.json"
    outcomes: ClassVar[frozenset[str]] = EncodingRecord.outcomes | {"code_counts"}

    hop_lengths: list[int]
    codebook_sizes: list[list[int]]
    hierarchical: bool
    code_counts: list[list[int]] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hop_lengths or min(self.hop_lengths) < 1 or len(self.hop_lengths) != len(self.codebook_sizes):
            raise ValueError(
                f"its `hop_lengths` are {self.hop_lengths} and its `codebook_sizes` {self.codebook_sizes}; each level "
                f"needs a positive hop length and its codebook sizes"
            )

    @property
    def columns(self) -> list[str]:
        """Names of the columns of codes, one per level."""
        return [f"codes_{level}" for level in range(len(self.hop_lengths))] if self.hierarchical else ["codes"]

    @property
    def frame_rates(self) -> list[float]:
        """Frames per second of each level."""
        return [self.sampling_rate / hop_length for hop_length in self.hop_lengths]

    def counts_of(self, level: int) -> list[list[int]]:
        """Return the count of each code in the data set for each codebook of a level."""
        offset = sum(len(sizes) for sizes in self.codebook_sizes[:level])
        return (self.code_counts or [])[offset : offset + len(self.codebook_sizes[level])]

    def description(self) -> str:
        """Describe the columns of codes."""
        levels = zip(self.columns, self.codebook_sizes, self.frame_rates, strict=True)
        level_texts = ", ".join(f"`{name}` {len(sizes)} per frame at {rate:g} Hz" for name, sizes, rate in levels)
        return f"Codes of a {self.family} of shape (frames, num_codebooks), without padding: {level_texts}."


def code_features(
    columns: Sequence[str], num_codebooks: Sequence[int], others: Mapping[str, Any]
) -> datasets.Features:
    """Return the columns of a data set of codes.

    The codes of each level are (frames, num_codebooks). `path` is the item, `start_sample` and `num_samples` the part
    of it at the model's rate, and `last` whether the row is the item's last. `frames` is the number of frames of the
    last level, the coarsest.

    Args:
        columns (`Sequence[str]`): Name of the column of each level.
        num_codebooks (`Sequence[int]`): Number of codebooks of each level.
        others (`Mapping`): Columns of the source to keep, by name.

    Raises:
        ValueError: The source has columns with these names.
    """
    shapes = zip(columns, num_codebooks, strict=True)
    encoded = {name: datasets.Array2D((None, count), "int32") for name, count in shapes}
    return row_features({**encoded, "last": datasets.Value("bool")}, others, "codes")
