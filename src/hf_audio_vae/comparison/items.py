"""Figures of single items, each in a file, so that a killed run can be continued."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hf_audio_vae.comparison.systems import System
from hf_audio_vae.evaluation.embeddings import Embedding, embed
from hf_audio_vae.files import replacing

REFERENCE = ""  # no name of a system
Metrics = Callable[[Tensor, Tensor, int], Mapping[str, float]]


@dataclass
class Item:
    """Measurements of one item.

    Attributes:
        name (`str`): Name of the item.
        seconds (`float`): Length of the item.
        figures (`dict`): By system: the metrics that are defined for the item.
        embeddings (`dict`): By system (`REFERENCE` for the original) and by embedding: vectors (frames, dim).
        health (`dict`): By system: sums over the latents or codes of the item.
        label (`str`, *optional*): Its class.
    """

    name: str
    seconds: float
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    embeddings: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    health: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    label: str | None = None

    def save(self, path: Path) -> None:
        """Write the item to a file. An interrupted call leaves no partial file."""
        tensors = {
            json.dumps([kind, system, name]): value.contiguous().clone()
            for kind in ("embeddings", "health")
            for system, values in getattr(self, kind).items()
            for name, value in values.items()
        }
        values = {"name": self.name, "seconds": self.seconds, "figures": self.figures, "label": self.label}
        described = json.dumps(values)
        with replacing(path) as hidden:
            save_file(tensors, hidden, metadata={"item": described, "checksum": _checksum(described, tensors)})

    @classmethod
    def load(cls, path: Path) -> "Item":
        """Read the file of an item.

        Raises:
            ValueError: The file is damaged. Files of earlier versions have no checksum.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if metadata.get("checksum") not in (None, _checksum(metadata["item"], tensors)):
                raise ValueError("its content differs from its checksum")
            item = cls(**json.loads(metadata["item"]))
        except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        for key, tensor in tensors.items():
            kind, system, name = json.loads(key)
            getattr(item, kind).setdefault(system, {})[name] = tensor
        return item


def _checksum(described: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(described.encode())
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].numpy().tobytes())
    return digest.hexdigest()


def measure_item(
    name: str,
    clip: Tensor,
    sampling_rate: int,
    systems: Sequence[System],
    metrics: Metrics,
    embeddings: Sequence[Embedding],
) -> Item:
    """Code a clip with all systems and measure the reconstructions.

    Args:
        name (`str`): Name of the item.
        clip (`torch.Tensor` of shape `(audio_channels, time)`): Original, at the rate of the comparison.
        sampling_rate (`int`): Rate of the comparison in Hz.
        systems (`Sequence[System]`): Systems.
        metrics (`Callable`): ``metrics(reconstruction, original, sampling_rate)`` of (audio_channels, time) each.
        embeddings (`Sequence[Embedding]`): Embeddings for distances between sets.
    """
    item = Item(name, clip.shape[-1] / sampling_rate)
    item.embeddings[REFERENCE] = _embedded(clip, sampling_rate, embeddings)
    for system in systems:
        coded = system.code(clip, sampling_rate)
        item.figures[system.name] = {**metrics(coded.waveform, clip, sampling_rate), **coded.figures}
        item.embeddings[system.name] = _embedded(coded.waveform, sampling_rate, embeddings)
        if coded.health is not None:
            item.health[system.name] = coded.health.state_dict()
    return item


def _embedded(waveform: Tensor, sampling_rate: int, embeddings: Iterable[Embedding]) -> dict[str, Tensor]:
    with torch.no_grad():
        return {embedding.name: embed(embedding, waveform, sampling_rate) for embedding in embeddings}
