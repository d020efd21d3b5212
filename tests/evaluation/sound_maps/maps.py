"""A small map with known neighbours, for the tests of pictures and pages."""

from collections.abc import Sequence

import torch

from hf_audio_vae.evaluation.sound_maps import MappedClip, SoundMap

POSITIONS = (0.0, 1.0, 3.0, 10.0, 12.0)
LABELS = ("a", "a", "b", "b", None)


def clips_of(labels: Sequence[str | None] = LABELS, names: Sequence[str] | None = None) -> list[MappedClip]:
    names = names or [f"sound {index}" for index in range(len(labels))]
    return [
        MappedClip(f"/sounds/{label}/{name}.wav", name, label, 1.5) for label, name in zip(labels, names, strict=True)
    ]


def line_map(labels: Sequence[str | None] = LABELS, names: Sequence[str] | None = None, count: int = 2) -> SoundMap:
    """A map of points on a line."""
    positions = torch.arange(len(labels)) if len(labels) != len(POSITIONS) else torch.tensor(POSITIONS)
    vectors = positions.double()[:, None] * torch.tensor([1.0, -2.0]).double()
    return SoundMap.of(clips_of(labels, names), vectors, num_neighbours=count)
