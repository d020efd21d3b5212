import contextlib
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Self

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError

from hf_audio_vae.data.encoded_files import count_rows
from hf_audio_vae.files import replacing
from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.files.json_files import read_json
from hf_audio_vae.files.location import check_revision, existing


@dataclass(frozen=True, kw_only=True)
class EncodingRecord(ABC):
    """Settings and results of encoding a data set with an autoencoder.

    Args:
        model (`str`): Absolute path or Hub id of the encoding model.
        weights (`str`): Fingerprint of the model: of its weights and configuration.
        family (`str`): Class of the model.
        sampling_rate (`int`): Sampling rate of the encoded sound in Hz.
        audio_channels (`int`): Channels of the encoded sound.
        source (`dict[str, str]`): Encoded data set: name and, if given, configuration, split, revision,
            files and audio column.
        items_per_file (`int`): Items of the source per file.
        max_row_seconds (`float`): Maximum length of a row; longer items are split.
        model_subfolder (`str`, *optional*): Subfolder of the model in a Hub repository.
        model_revision (`str`, *optional*): Revision of the model.
        rows (`int`, *optional*): Total number of rows; `None` until all files are written.
        items (`int`, *optional*): Number of encoded items of the source.
        seconds (`float`, *optional*): Total seconds of encoded sound.
        skipped (`dict[str, str]`): Items that could not be decoded completely, with the reason.
    """

    noun: ClassVar[str]
    writers: ClassVar[str] = "`hf-audio-vae encode-dataset`"
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

    def __post_init__(self) -> None:
        for name in ("sampling_rate", "audio_channels", "items_per_file", "hop_length", "latent_channels"):
            value = getattr(self, name, 1)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"its `{name}` is {value!r}")

    @property
    def complete(self) -> bool:
        """Whether all files are written."""
        return self.rows is not None

    def check_weights(
        self,
        weights: str,
        dataset_name: str,
        *,
        others: str = "the given autoencoder",
        remedy: str = "use that model",
    ) -> None:
        """Raise `ValueError` unless all files are there, and were written by a model with this fingerprint.

        Args:
            weights (`str`): Fingerprint of the model.
            dataset_name (`str`): Name of the data set in the message.
            others (`str`): Description of the model with this fingerprint, for the message.
            remedy (`str`): Advice in the message, as an alternative to encoding again.
        """
        if not self.complete:
            raise ValueError(
                f"{dataset_name} is not complete: `hf-audio-vae encode-dataset` was interrupted; run it again."
            )
        if Path(dataset_name).is_dir() and (rows := count_rows(Path(dataset_name))) != self.rows:
            raise ValueError(
                f"{dataset_name} has {rows} rows in its files, but {self.file} has {self.rows}: files were removed or "
                f"added; run `hf-audio-vae encode-dataset` again to write the missing files."
            )
        if differing := fingerprint_differences(self.weights, weights):
            raise ValueError(
                f"the {self.noun} in {dataset_name} were encoded by {self.model}, with other "
                f"{' and '.join(differing)} than {others}; {remedy}, or encode the data set again."
            )

    def differences(self, other: "EncodingRecord") -> list[str]:
        """Return the names of the settings in which two records differ.

        The places of the model and of the source may change: the fingerprint identifies the model, and the files name
        the items of the source.
        """
        location = {"model", "model_subfolder", "model_revision"}
        names = {f.name for f in fields(self)} - self.outcomes - location - {"source"}
        differing = {name for name in names - {"weights"} if getattr(self, name) != getattr(other, name)}
        differing |= set(fingerprint_differences(self.weights, other.weights))
        differing |= {name for name, _ in self.source.items() ^ other.source.items()} - {"dataset_name", "data_files"}
        return sorted(differing)

    def write(self, folder: Path) -> None:
        """Write the record atomically to a data set's folder, with a data set card."""
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / self.file) as file:
            file.write_text(json.dumps({"format": self.format} | asdict(self), indent=2) + "\n")
        provenance = {"model": self.model, "fingerprint (SHA-256)": self.weights} | self.source
        with replacing(folder / "README.md") as file:
            file.write_text(f"""---
tags: [audio, {self.noun}, hf-audio-vae]
---

# {folder.name}

{self.description()} `{self.file}` records the encoding; training requires the same model.

{chr(10).join(f"- {name}: `{value}`" for name, value in provenance.items())}
""")

    @abstractmethod
    def description(self) -> str:
        """Describe a row in one sentence for the card."""

    @classmethod
    def read(cls, dataset_name: str | Path, revision: str | None = None) -> Self:
        """Read the record of a data set.

        Args:
            dataset_name (`str` or `Path`): A folder, or a Hub id.
            revision (`str`, *optional*): Revision of a Hub data set.

        Raises:
            ValueError: It has no valid record, or a revision of a folder is given.
            OSError: It cannot be reached.
        """
        check_revision(dataset_name, revision)
        path = Path(dataset_name) / cls.file
        if not Path(dataset_name).is_dir():
            with (
                existing(dataset_name, f"write {cls.noun} with {cls.writers}"),
                contextlib.suppress(RemoteEntryNotFoundError),
            ):
                path = Path(hf_hub_download(str(dataset_name), cls.file, repo_type="dataset", revision=revision))
        if not path.is_file():
            raise ValueError(
                f"{dataset_name} has no {cls.file}: it does not hold {cls.noun}; write them with {cls.writers}."
            )
        try:
            record = read_json(path)
            if record.pop("format", None) != cls.format:
                raise ValueError(f"it is not in the format {cls.format!r}")
            return cls(**record)
        except (ValueError, TypeError, AttributeError) as error:  # not JSON, wrong fields, not a mapping
            raise ValueError(f"{path} cannot be read: {str(error).rstrip('.')}. Encode the data set again.") from error
