"""Measure all items of a data set, in one process or several. The measurements are kept in files."""

import json
import logging
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hf_audio_vae.comparison.items import Item, Metrics, measure_item
from hf_audio_vae.comparison.systems import System
from hf_audio_vae.evaluation.embeddings import Embedding
from hf_audio_vae.evaluation.lossy import UncodableError
from hf_audio_vae.files import make_folder, replacing
from hf_audio_vae.files.json_files import read_json

logger = logging.getLogger(__name__)

ITEMS = "items"
NAMES = "[0-9]*.safetensors"  # not the hidden files of writers that were killed
SETTINGS = "settings.json"
Clips = Callable[[Callable[[int], bool], dict[str, str]], Iterable[tuple[int, str, object, Tensor]]]


@dataclass
class Measurement:
    """Systems, embeddings and metrics that items are measured with, and the clips of the items.

    Attributes:
        systems (`Sequence[System]`): Systems.
        embeddings (`Sequence[Embedding]`): Embeddings for distances between sets.
        metrics (`Callable`): Metrics of a reconstruction.
        sampling_rate (`int`): Rate at which reconstructions are compared, in Hz.
        audio_channels (`int`): Channels of the clips.
        clips (`Callable`): ``clips(wanted, skipped)`` yields the index, the name, the label (`None` for none) and the
            waveform (audio_channels, time) of each item for whose index ``wanted(index)`` is true. It adds items that
            cannot be read to `skipped`.
    """

    systems: Sequence[System]
    embeddings: Sequence[Embedding]
    metrics: Metrics
    sampling_rate: int
    audio_channels: int
    clips: Clips

    def run(self, folder: Path, part: int = 0, parts: int = 1) -> dict[str, str]:
        """Measure the items of a part that have no file in the folder yet. Return the items that cannot be used."""
        skipped: dict[str, str] = {}

        def wanted(index: int) -> bool:
            return index % parts == part and not item_file(folder, index).exists()

        for index, name, label, clip in self.clips(wanted, skipped):
            try:
                item = measure_item(name, clip, self.sampling_rate, self.systems, self.metrics, self.embeddings)
            except UncodableError as error:
                skipped[name] = str(error)
            else:
                item.label = None if label is None else str(label)
                item.save(item_file(folder, index))
        return skipped


def item_file(folder: Path, index: int) -> Path:
    """Return the file of an item."""
    return folder / ITEMS / f"{index:06d}.safetensors"


def load_items(folder: Path) -> list[Item]:
    """Return all measured items in order."""
    return [Item.load(path) for path in sorted((folder / ITEMS).glob(NAMES))]


def prepare(folder: Path, settings: dict[str, Any]) -> int:
    """Make the folder of an evaluation, or check that an existing one has equal settings. Remove damaged items.

    Args:
        folder (`Path`): Folder.
        settings (`dict`): JSON-serializable values that decide the results.

    Returns:
        `int`: Number of items that are measured already.

    Raises:
        ValueError: The folder has an evaluation of other settings.
        OSError: It cannot be written.
    """
    make_folder(folder / ITEMS)
    keep_settings(folder, settings)
    for path in (folder / ITEMS).glob(NAMES):
        try:
            Item.load(path)
        except ValueError as error:
            logger.warning(f"{error}; the item is measured again.")
            path.unlink()
    return sum(1 for _ in (folder / ITEMS).glob(NAMES))


def keep_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings of an evaluation into its folder, or check that those in the folder are equal.

    Raises:
        ValueError: The folder has an evaluation of other settings.
        OSError: It cannot be written.
    """
    path = folder / SETTINGS
    if not path.is_file():
        with replacing(path) as hidden:
            hidden.write_text(json.dumps(settings, indent=2) + "\n")
        return
    kept, wanted = read_json(path), json.loads(json.dumps(settings))
    if not isinstance(kept, dict):
        raise ValueError(f"{path} does not hold the settings of an evaluation; delete it and the results beside it.")
    if changed := [name for name in wanted if kept.get(name) != wanted[name]]:
        raise ValueError(
            f"{folder} has an evaluation with other settings ({', '.join(changed)}); choose another "
            f"`--output_dir`, or delete {SETTINGS} and its results there."
        )


def measure_in_parts(measurement: Callable[[], Measurement], folder: Path, processes: int) -> dict[str, str]:
    """Measure in several new processes.

    Args:
        measurement (`Callable`): Returns the measurement, called in each process; it must be picklable.
        folder (`Path`): Folder of the evaluation.
        processes (`int`): Number of processes, 2 or more.

    Returns:
        `dict[str, str]`: Items that cannot be read, with the reasons.

    Raises:
        ValueError: A process was killed.
    """
    context = multiprocessing.get_context("spawn")
    skipped: dict[str, str] = {}
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        parts = [pool.submit(_run_part, measurement, folder, part, processes) for part in range(processes)]
        try:
            for part in parts:
                skipped |= part.result()
        except BrokenProcessPool as error:
            raise ValueError(
                "a process was killed, perhaps for memory; repeat the command with a lower `--num_processes`."
            ) from error
    return skipped


def _run_part(measurement: Callable[[], Measurement], folder: Path, part: int, parts: int) -> dict[str, str]:
    return measurement().run(folder, part, parts)
