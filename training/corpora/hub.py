"""Build a corpus from any data set that `datasets` can stream, from the Hub or from a folder.

python training/corpora/hub.py --dataset_name NAME --output_dir outputs/corpora/mine --kind speech --compact
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import datasets
from huggingface_hub import DatasetCard
from huggingface_hub.errors import EntryNotFoundError
from pydantic import Field

from hf_audio_vae.audio.io import open_binary
from hf_audio_vae.data.clips import EncodedItem, item_name, item_source
from hf_audio_vae.data.corpus import Sound
from hf_audio_vae.data.latents import class_name
from hf_audio_vae.data.loading import load_audio_stream
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.corpus_building import CorpusConfig, build_corpus
from hf_audio_vae.training.script import main_or_exit

Split = Literal["train", "validation", "test"]


class HubCorpusConfig(CorpusConfig):
    """Options of this script."""

    dataset_name: str = Field(description="Hub id, or a folder of audio, parquet or tar files")
    dataset_config_name: str | None = None
    dataset_revision: str | None = None
    data_files: str | list[str] | None = None
    audio_column: str | None = None
    splits: dict[Split, str] = Field(
        {"train": "train"}, description="split of the corpus (train, validation, test) -> split of the data set"
    )
    max_items: int | None = Field(None, ge=1, description="use only the first items of each split, up to this number")
    kind: str = Field("sound", description="kind of all sounds")
    kind_column: str | None = Field(None, description="column with the kind, instead of `kind`")
    license: str | None = Field(None, description="license of all sounds; default from the data set card")
    license_column: str | None = Field(None, description="column with the license, instead of `license`")


def card_license(name: str) -> str:
    """Return the license in the card of a data set."""
    license, card = None, Path(name) / "README.md"
    if card.is_file() or not Path(name).is_dir():
        with contextlib.suppress(EntryNotFoundError):
            license = DatasetCard.load(str(card) if card.is_file() else name).data.license
    if not license:
        raise ValueError(f"the card of {name} names no license; give `--license` or `--license_column`.")
    return license if isinstance(license, str) else ", ".join(license)


def sounds_of(config: HubCorpusConfig, split: str, license: str) -> Iterator[Sound]:
    """Yield the sounds of a split that have a license."""
    stream = load_audio_stream(
        config.dataset_name,
        config_name=config.dataset_config_name,
        split=split,
        data_files=config.data_files,
        audio_column=config.audio_column,
        revision=config.dataset_revision,
        keep_columns=True,
        announce=print,
    )
    names = stream.features or {}
    if missing := [name for name in (config.kind_column, config.license_column) if name and name not in names]:
        raise ValueError(f"{config.dataset_name} has no column {missing[0]!r}; it has {sorted(names)}.")
    unlicensed = 0
    for example in stream if config.max_items is None else stream.take(config.max_items):
        item, item_license = example["audio"], _label(example, config.license_column, names) or license
        if item_license:
            kind = _label(example, config.kind_column, names) or config.kind
            yield Sound(item_name(item), kind, item_license, config.dataset_name, partial(encoded_bytes, item))
        unlicensed += not item_license
    if unlicensed:
        print(f"{split}: {unlicensed} items left out, their license is not known")


def _label(example: Mapping[str, Any], column: str | None, features: Mapping[str, Any]) -> str | None:
    """Return a value as text, of a class label its name; `None` if there is none."""
    if column is None:
        return None
    value, feature = example[column], features[column]
    if isinstance(feature, datasets.ClassLabel) and value is not None:
        return feature.names[value] if value >= 0 else None
    return class_name(value)


def encoded_bytes(item: EncodedItem) -> bytes:
    """Return the encoded audio of an item."""
    with open_binary(item_source(item)) as file:
        return file.read()


def main(argv: Sequence[str]) -> None:
    """Stream the data set, write the corpus and print its table."""
    config = parse_config(HubCorpusConfig, argv)
    license = config.license or ("" if config.license_column else card_license(config.dataset_name))
    sounds: dict[str, dict[str, Iterator[Sound]]] = {
        name: {config.dataset_name: sounds_of(config, split, license)} for name, split in config.splits.items()
    }
    build_corpus(config, sounds, config.dataset_name)


if __name__ == "__main__":
    main_or_exit(main)
