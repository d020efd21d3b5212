"""What a data set of pre-encoded latents looks like: its columns, and the record of how it was made beside them."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError

FORMAT = "hf_audio_vae.latent_dataset.v1"
RECORD_FILE = "latents.json"


@dataclass(frozen=True)
class LatentsRecord:
    """How latents were made, and what there is of them.

    Args:
        model (`str`): Path or Hub id of the model that encoded.
        weights (`str`): Fingerprint of its weights.
        family (`str`): Its class.
        sampling_rate (`int`): Of the sound it encoded, in Hz.
        audio_channels (`int`): Channels of that sound.
        hop_length (`int`): Samples a frame.
        latent_channels (`int`): Width of the latents.
        source (`dict[str, str]`): The data set that was encoded: name and, if given, configuration, split, revision,
            files and audio column.
        items_per_file (`int`): Items of the source that one file holds.
        max_row_seconds (`float`): Where longer items go on in a new row.
        rows (`int`, *optional*): Rows in all files; `None` until all of them are written.
        items (`int`, *optional*): Items of the source that they are made of.
        seconds (`float`, *optional*): Seconds of sound that they hold.
        skipped (`dict[str, str]`): Items that could not be decoded, or only in part, with the reason.
        latents_mean (`list[float]`, *optional*): Mean of each channel over all frames.
        latents_std (`list[float]`, *optional*): Standard deviation of each.
    """

    model: str
    weights: str
    family: str
    sampling_rate: int
    audio_channels: int
    hop_length: int
    latent_channels: int
    source: dict[str, str]
    items_per_file: int
    max_row_seconds: float
    rows: int | None = None
    items: int | None = None
    seconds: float | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    latents_mean: list[float] | None = None
    latents_std: list[float] | None = None

    @property
    def frame_rate(self) -> float:
        """Latent frames a second."""
        return self.sampling_rate / self.hop_length

    @property
    def complete(self) -> bool:
        """Whether all files are written."""
        return self.rows is not None

    def check_weights(self, weights: str, dataset_name: str) -> None:
        """Raise `ValueError` unless all files are written, by a model with these weights (their fingerprint)."""
        if not self.complete:
            raise ValueError(f"{dataset_name} is not complete: encode_latents.py was broken off; start it again.")
        if self.weights != weights:
            raise ValueError(
                f"the latents in {dataset_name} were encoded by {self.model}, with other weights than the autoencoder "
                f"given; name that model, or encode them anew."
            )

    def differences(self, other: "LatentsRecord") -> list[str]:
        """Return what two records say differently of how the latents were made, by name."""
        names = {f.name for f in fields(self)} - {"model"}  # it may have moved: its weights tell
        names -= {"rows", "items", "seconds", "skipped", "latents_mean", "latents_std"}
        return sorted(name for name in names if getattr(self, name) != getattr(other, name))

    def write(self, folder: Path) -> None:
        """Write the record into a data set's folder, replaced as a whole or not at all, and a card beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{RECORD_FILE}.partial"
        partial.write_text(json.dumps({"format": FORMAT} | asdict(self), indent=2) + "\n")
        os.replace(partial, folder / RECORD_FILE)
        (folder / "README.md").write_text(self._card(folder.name))

    def _card(self, title: str) -> str:
        """Tell readers what this is. No `configs`: `datasets` would cache all folders of the same name as one."""
        made = {"model": self.model, "weights (SHA-256)": self.weights} | self.source
        return f"""---
tags: [audio, latents, hf-audio-vae]
---

# {title}

Posteriors of a {self.family}, {self.latent_channels} latent channels at {self.frame_rate:g} Hz, `mean` and `std` of
shape (frames, latent_channels), as many frames as the sound has. `{RECORD_FILE}` tells how they were made; training
refuses them with other weights.

{chr(10).join(f"- {name}: `{value}`" for name, value in made.items())}
"""


def read_record(dataset_name: str | Path, revision: str | None = None) -> LatentsRecord:
    """Read the record of a data set of latents.

    Args:
        dataset_name (`str` or `Path`): A folder, or a Hub id.
        revision (`str`, *optional*): Version of a Hub data set.

    Raises:
        ValueError: It has no record that can be read.
        OSError: It cannot be reached.
    """
    path = Path(dataset_name) / RECORD_FILE
    if not Path(dataset_name).is_dir():
        with contextlib.suppress(RemoteEntryNotFoundError):
            path = Path(hf_hub_download(str(dataset_name), RECORD_FILE, repo_type="dataset", revision=revision))
    if not path.is_file():
        raise ValueError(
            f"{dataset_name} has no {RECORD_FILE}: it does not hold latents; write them by encode_latents."
        )
    record = json.loads(path.read_text())
    if record.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is not in the format {FORMAT!r}; encode the data set anew.")
    return LatentsRecord(**record)


def latent_features(latent_channels: int, others: Mapping[str, Any]) -> datasets.Features:
    """Return the columns of a data set of latents.

    `mean` and `std` are the posterior, (frames, latent_channels): as many frames as the row's sound has, none of them
    padding. `path` names the item, `start_sample` and `num_samples` the stretch of it, at the model's rate.

    Args:
        latent_channels (`int`): Width of the latents.
        others (`Mapping`): Columns to keep of the source, by name.

    Raises:
        ValueError: The source has columns of these names.
    """
    posterior = datasets.Array2D((None, latent_channels), "float32")
    own = {
        "mean": posterior,
        "std": posterior,
        "frames": datasets.Value("int64"),
        "path": datasets.Value("string"),
        "start_sample": datasets.Value("int64"),
        "num_samples": datasets.Value("int64"),
    }
    if clash := sorted(own.keys() & others.keys()):
        raise ValueError(f"the data set has columns {clash}, which latents need for themselves; rename them there.")
    return datasets.Features({**own, **others})
