"""Models and clips of the commands that compare several models."""

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from torch import Tensor

from hf_audio_vae.cli.clips import label_reader, open_dataset
from hf_audio_vae.data import clip_starts
from hf_audio_vae.data.clips import EncodedItem, item_name
from hf_audio_vae.data.latents import class_name
from hf_audio_vae.evaluation.lossy import LOSSY
from hf_audio_vae.files import listing_checksum

ANCHOR_WITHOUT_AT = re.compile(rf"({'|'.join(LOSSY)})[ _-]?(\d+)")
CLIP_OPTIONS = ("dataset_config_name", "dataset_split", "audio_column", "max_seconds")


def check_models(arguments: argparse.Namespace) -> None:
    """Check `--model`, which may be repeated, and the options that locate a model.

    Raises:
        ValueError: A model is named twice, or an option would locate several models.
    """
    if len(set(arguments.model)) < len(arguments.model):
        raise ValueError(f"--model {' '.join(arguments.model)} names a model twice.")
    for name in arguments.model:
        if (alike := ANCHOR_WITHOUT_AT.fullmatch(name)) and not Path(name).exists():
            raise ValueError(f"--model {name} is no anchor; give {alike[1]}@{alike[2]}, a codec and kbit/s.")
    located = [name for name in ("subfolder", "revision", "variant") if getattr(arguments, name)]
    if located and len(arguments.model) > 1:
        raise ValueError(f"--{located[0]} would be that of all {len(arguments.model)} models; name local folders.")


def check_output_outside_data(arguments: argparse.Namespace, *datasets: str | None) -> None:
    """Raise `ValueError` if the output folder is in a local data set: the results would change the data."""
    for name in datasets:
        if name is None or arguments.output_dir is None or not Path(name).is_dir():
            continue
        if Path(arguments.output_dir).resolve().is_relative_to(Path(name).resolve()):
            raise ValueError(
                f"--output_dir {arguments.output_dir} is in the data {name}, which its files would change; choose a "
                f"folder outside of the data."
            )


def names_in_tables(models: Sequence[str]) -> list[str]:
    """Return the name of each model in tables: the name of its folder, or all of a path if two names are equal."""
    stems = [Path(name).name or Path(name).absolute().name for name in models]  # of `.`, that of the folder
    return [stem if stems.count(stem) == 1 else name for name, stem in zip(models, stems, strict=True)]


def dataset_identity(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return all settings that decide the clips. They are equal for a copy of the files elsewhere."""
    local = Path(arguments.dataset_name).exists()  # patterns of `data_files` are then relative to it
    files = arguments.dataset_name if local else arguments.data_files
    return {
        "dataset": listing_checksum(files, reads_all=True) or [arguments.dataset_name, arguments.dataset_revision],
        "data_files": arguments.data_files,
        **{name: getattr(arguments, name) for name in CLIP_OPTIONS},
    }


def indexed_clips(
    arguments: argparse.Namespace,
    wanted: Callable[[int], bool],
    skipped: dict[str, str],
    *,
    sampling_rate: int,
    audio_channels: int,
    announces: bool = True,
) -> Iterator[tuple[int, str, object, Tensor]]:
    """Yield index, name, class (`None` for none) and waveform (audio_channels, time) of the wanted items.

    The name of a file in a local folder has the sub-folders.

    Args:
        arguments (`argparse.Namespace`): Arguments of `add_dataset_arguments`.
        wanted (`Callable`): Whether the item of an index is read.
        skipped (`dict[str, str]`): Gets the items that cannot be read, with the reasons.
        sampling_rate (`int`): Rate of the waveforms in Hz.
        audio_channels (`int`): Channels of the waveforms.
        announces (`bool`): Print one line on stderr that says which data is used.
    """
    column = getattr(arguments, "label_column", None)
    stream = open_dataset(arguments, announces=announces, keep_columns=column is not None)
    label_of = label_reader(stream, column)
    root = Path(arguments.dataset_name).resolve()
    for index, example in enumerate(stream):
        if wanted(index):
            found = clip_starts(
                [example],
                sampling_rate=sampling_rate,
                audio_channels=audio_channels,
                max_seconds=arguments.max_seconds,
                skipped=skipped,
            )
            for name, clip in found:
                yield index, _in_folder(example["audio"], name, root), class_name(label_of(example)), clip


def _in_folder(item: EncodedItem, name: str, root: Path) -> str:
    """Return the name of an item with its sub-folders, if it is a file in the folder of the data set."""
    path = PurePath(item_name(item))
    return str(path.relative_to(root).parent / name) if path.is_relative_to(root) else name
