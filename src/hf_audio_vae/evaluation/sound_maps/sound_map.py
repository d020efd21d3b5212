"""The content of a map: clips, coordinates, nearest neighbours."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from hf_audio_vae.latents import Neighbours, Projection, nearest_neighbours, pca_projection, standardized


@dataclass(frozen=True)
class MappedClip:
    """A clip of a map.

    Args:
        path (`str`): Its file, or another name that identifies it.
        name (`str`): Name that is shown.
        label (`str`, *optional*): Its class.
        seconds (`float`): Length that the vector describes.
    """

    path: str
    name: str
    label: str | None
    seconds: float


@dataclass(frozen=True)
class SoundMap:
    """Points of clips on a plane, and the nearest neighbours of each clip among the vectors.

    Args:
        clips (`tuple[MappedClip, ...]`): The clips.
        projection (`Projection`): Their coordinates.
        neighbours (`Neighbours`): Neighbours of each clip, by Euclidean distance of the standardized vectors.
    """

    clips: tuple[MappedClip, ...]
    projection: Projection
    neighbours: Neighbours

    @classmethod
    def of(
        cls,
        clips: Sequence[MappedClip],
        vectors: Tensor,
        *,
        project: Callable[[Tensor], Projection] = pca_projection,
        num_neighbours: int = 5,
    ) -> "SoundMap":
        """Standardize the vectors of clips, project them, and find their neighbours.

        Args:
            clips (`Sequence[MappedClip]`): The clips, two or more.
            vectors (`torch.Tensor` of shape `(clips, dimensions)`): Their vectors, from `clip_vector`.
            project (`Callable`): A projection, such as one of `PROJECTIONS`.
            num_neighbours (`int`): Neighbours of each clip, 1 or more; at most all others.

        Raises:
            ValueError: The numbers of clips and vectors differ, or a projection or `nearest_neighbours` refuses them.
        """
        if len(clips) != len(vectors):
            raise ValueError(f"there are {len(clips)} clips and {len(vectors)} vectors; give one vector per clip.")
        scaled = standardized(vectors)
        found = project(scaled)
        return cls(tuple(clips), found, nearest_neighbours(scaled, min(num_neighbours, len(clips) - 1)))

    @property
    def labels(self) -> tuple[str | None, ...]:
        """The different classes in order: numbers by value, then names, then `None` for clips without a class."""
        return tuple(sorted({clip.label for clip in self.clips}, key=_order))

    @property
    def agreement(self) -> tuple[float, float] | None:
        """Share of labelled clips whose nearest neighbour has the same class, and the share that is due to chance.

        By chance, the neighbour is any of the other clips. `None` if there are fewer than two classes.
        """
        labelled = [index for index, clip in enumerate(self.clips) if clip.label is not None]
        counts = Counter(self.clips[index].label for index in labelled)
        if len(counts) < 2:
            return None
        nearest = self.neighbours.indices[:, 0].tolist()
        equal = sum(self.clips[nearest[index]].label == self.clips[index].label for index in labelled)
        pairs = sum(count * (count - 1) for count in counts.values())
        return equal / len(labelled), pairs / (len(labelled) * (len(self.clips) - 1))

    def numbers(self) -> dict[str, Any]:
        """Return all of it as JSON values: axes, and for each clip its coordinates and its neighbours."""
        indices, distances = self.neighbours.indices.tolist(), self.neighbours.distances.tolist()
        points = [
            {
                **asdict(clip),
                "coordinates": coordinates,
                "neighbours": [
                    {"index": other, "path": self.clips[other].path, "distance": distance}
                    for other, distance in zip(indices[index], distances[index], strict=True)
                ],
            }
            for index, (clip, coordinates) in enumerate(
                zip(self.clips, self.projection.coordinates.tolist(), strict=True)
            )
        ]
        agreement = self.agreement
        return {
            "axes": list(self.projection.labels),
            "shares": None if self.projection.shares is None else list(self.projection.shares),
            "distance": "euclidean",
            "nearest_of_same_class": None if agreement is None else {"share": agreement[0], "by_chance": agreement[1]},
            "points": points,
        }


def _order(label: str | None) -> tuple[int, float, str]:
    if label is None:
        return (2, 0.0, "")
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)
