import contextlib
import json
import os
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Self

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError


@dataclass(frozen=True, kw_only=True)
class EncodingRecord(ABC):
    """How a data set of what an autoencoder made of sound was made, and what there is of it.

    Args:
        model (`str`): Absolute path or Hub id of the model that encoded.
        weights (`str`): Fingerprint of its weights.
        family (`str`): Its class.
        sampling_rate (`int`): Of the sound it encoded, in Hz.
        audio_channels (`int`): Channels of that sound.
        source (`dict[str, str]`): The data set that was encoded: name and, if given, configuration, split, revision,
            files and audio column.
        items_per_file (`int`): Items of the source that one file holds.
        max_row_seconds (`float`): Where longest row; longer items are split.
        model_subfolder (`str`, *optional*): Where in a Hub repository the model is.
        model_revision (`str`, *optional*): Version of it.
        rows (`int`, *optional*): Rows in all files; `None` until all of them are written.
        items (`int`, *optional*): Items of the source that they are made of.
        seconds (`float`, *optional*): Seconds of sound that they hold.
        skipped (`dict[str, str]`): Items that could not be decoded, or only in part, with the reason.
    """

    noun: ClassVar[str]
    format: ClassVar[str]
    file: ClassVar[str]
    outcomes: ClassVar[frozenset[str]] = frozenset({"rows", "items", "seconds", "skipped"})

    model: str
    weights: str
    family: str
    sampling_rate: int
    audio_channels: int
    source: dict[str, str]
    items_per_file: int
    max_row_seconds: float
    model_subfolder: str | None = None
    model_revision: str | None = None
    rows: int | None = None
    items: int | None = None
    seconds: float | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all files are written."""
        return self.rows is not None

    def check_weights(
        self,
        weights: str,
        dataset_name: str,
        *,
        others: str = "the autoencoder given",
        remedy: str = "name that model",
    ) -> None:
        """Raise `ValueError` unless all files are written, by a model with these weights.

        Args:
            weights (`str`): Their fingerprint.
            dataset_name (`str`): What the message calls the data set.
            others (`str`): What it calls the one these weights are of.
            remedy (`str`): What it tells to do, or else to encode anew.
        """
        if not self.complete:
            raise ValueError(f"{dataset_name} is not complete: encode_latents.py was broken off; start it again.")
        if self.weights != weights:
            raise ValueError(
                f"the {self.noun} in {dataset_name} were encoded by {self.model}, with other weights than "
                f"{others}; {remedy}, or encode them anew."
            )

    def differences(self, other: "EncodingRecord") -> list[str]:
        """Return what two records say differently of how the data set was made, by name."""
        place = {"model", "model_subfolder", "model_revision"}  # it may have moved: its weights tell
        names = {f.name for f in fields(self)} - self.outcomes - place
        return sorted(name for name in names if getattr(self, name) != getattr(other, name))

    def write(self, folder: Path) -> None:
        """Write the record into a data set's folder, replaced as a whole or not at all, and a card beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{self.file}.partial"
        partial.write_text(json.dumps({"format": self.format} | asdict(self), indent=2) + "\n")
        os.replace(partial, folder / self.file)
        made = {"model": self.model, "weights (SHA-256)": self.weights} | self.source
        (folder / "README.md").write_text(f"""---
tags: [audio, {self.noun}, hf-audio-vae]
---

# {folder.name}

{self.description()} `{self.file}` tells how they were made; training refuses them with other weights.

{chr(10).join(f"- {name}: `{value}`" for name, value in made.items())}
""")

    @abstractmethod
    def description(self) -> str:
        """Say in a sentence what a row holds. The card has no `configs`: `datasets` would cache folders as one."""

    @classmethod
    def read(cls, dataset_name: str | Path, revision: str | None = None) -> Self:
        """Read the record of a data set.

        Args:
            dataset_name (`str` or `Path`): A folder, or a Hub id.
            revision (`str`, *optional*): Version of a Hub data set.

        Raises:
            ValueError: It has no record that can be read.
            OSError: It cannot be reached.
        """
        path = Path(dataset_name) / cls.file
        if not Path(dataset_name).is_dir():
            with contextlib.suppress(RemoteEntryNotFoundError):
                path = Path(hf_hub_download(str(dataset_name), cls.file, repo_type="dataset", revision=revision))
        if not path.is_file():
            raise ValueError(
                f"{dataset_name} has no {cls.file}: it does not hold {cls.noun}; write them by encode_latents."
            )
        try:
            record = json.loads(path.read_text())
            if record.pop("format", None) != cls.format:
                raise ValueError(f"it is not in the format {cls.format!r}")
            return cls(**record)
        except (ValueError, TypeError, AttributeError) as error:  # no JSON, no fields, no mapping
            raise ValueError(f"{path} cannot be read: {error}. Encode the data set anew.") from error
