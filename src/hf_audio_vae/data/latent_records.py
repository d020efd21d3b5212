"""Format of a data set of pre-encoded latents: its columns, and the record of its encoding."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import datasets

from hf_audio_vae.data.encoding_records import EncodingRecord


@dataclass(frozen=True, kw_only=True)
class LatentsRecord(EncodingRecord):
    """Settings and results of encoding a data set to latents.

    Args:
        hop_length (`int`): Samples per frame.
        latent_channels (`int`): Latent channels.
        latents_dtype (`str`): Type of the numbers in the files, float16 or float32.
        latents_mean (`list[float]`, *optional*): Mean of each channel over all frames.
        latents_std (`list[float]`, *optional*): Standard deviation of each channel.
    """

    noun: ClassVar[str] = "latents"
    format: ClassVar[str] = "hf_audio_vae.latent_dataset.v1"
    file: ClassVar[str] = "latents.json"
    outcomes: ClassVar[frozenset[str]] = EncodingRecord.outcomes | {"latents_mean", "latents_std"}

    hop_length: int
    latent_channels: int
    latents_dtype: str = "float32"
    latents_mean: list[float] | None = None
    latents_std: list[float] | None = None

    @property
    def frame_rate(self) -> float:
        """Latent frames per second."""
        return self.sampling_rate / self.hop_length

    def description(self) -> str:
        """Describe `mean` and `std`."""
        return (
            f"Posteriors of a {self.family}, {self.latent_channels} latent channels at {self.frame_rate:g} Hz, `mean` "
            f"and `std` of shape (frames, latent_channels), without padding."
        )


def read_record(dataset_name: str | Path, revision: str | None = None) -> LatentsRecord:
    """Read the record of a data set of latents; see `EncodingRecord.read`."""
    return LatentsRecord.read(dataset_name, revision)


def latent_features(latent_channels: int, others: Mapping[str, Any], dtype: str = "float32") -> datasets.Features:
    """Return the columns of a data set of latents.

    `mean` and `std` are the posterior, (frames, latent_channels), without padding frames. `path` is the item,
    `start_sample` and `num_samples` the part of it at the model's rate.

    Args:
        latent_channels (`int`): Latent channels.
        others (`Mapping`): Columns of the source to keep, by name.
        dtype (`str`): Type of the numbers.

    Raises:
        ValueError: The source has columns with these names.
    """
    posterior = datasets.Array2D((None, latent_channels), dtype)
    return row_features({"mean": posterior, "std": posterior}, others, "latents")


def row_features(encoded: Mapping[str, Any], others: Mapping[str, Any], noun: str) -> datasets.Features:
    """Return the columns of a row: the encoding, the part of the item it covers, and columns of the source.

    Raises:
        ValueError: The source has columns with these names.
    """
    own = {
        **encoded,
        "frames": datasets.Value("int64"),
        "path": datasets.Value("string"),
        "start_sample": datasets.Value("int64"),
        "num_samples": datasets.Value("int64"),
    }
    if clash := sorted(own.keys() & others.keys()):
        raise ValueError(
            f"the data set has the columns {clash}, which are reserved for {noun}; rename them in the data set."
        )
    return datasets.Features({**own, **others})
