"""Paths between sounds of any lengths, and single sounds that move from one to another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hf_audio_vae.latents.alignment import even_positions, length_between, loop, stretch
from hf_audio_vae.latents.interpolation import interpolate, path_steps
from hf_audio_vae.latents.warping import warp


class Alignment(Protocol):
    """Sounds of different lengths, of which any two neighbours can be brought to one length."""

    def at(self, weight: float, leg: int = 0) -> tuple[Tensor, Tensor]:
        """Return two neighbours with one length; at weight 0 the first is bit-equal, at weight 1 the second.

        Args:
            weight (`float`): Weight of the second sound, 0 to 1.
            leg (`int`): Index of the first sound.
        """

    def length(self, first: float, second: float, weight: float) -> float:
        """Return the length at a weight of two neighbours with these lengths, in samples or another unit."""

    def moving(self) -> tuple[list[Tensor], Tensor]:
        """Return all sounds with one length, and a position among them for each frame, float64 (frames,).

        Positions rise from 0, the first sound, to the index of the last one.
        """


class Stretched:
    """Sounds that are stretched to the length between both; in a moving sound, to that of the longest.

    Args:
        latents (`Sequence[torch.Tensor]` of shape `(..., latent_channels, frames)`): Latents of two sounds or more.
    """

    def __init__(self, latents: Sequence[Tensor]) -> None:
        self._latents = latents

    def at(self, weight: float, leg: int = 0) -> tuple[Tensor, Tensor]:
        """Return two sounds of ``round((1 - weight) * frames_of_first + weight * frames_of_second)`` frames."""
        first, second = self._latents[leg : leg + 2]
        frames = round(self.length(first.shape[-1], second.shape[-1], weight))
        return stretch(first, frames), stretch(second, frames)

    def length(self, first: float, second: float, weight: float) -> float:
        """Return the length between both."""
        return length_between(first, second, weight)

    def moving(self) -> tuple[list[Tensor], Tensor]:
        """Return all sounds in the length of the longest, with even positions."""
        frames = max(latents.shape[-1] for latents in self._latents)
        return [stretch(latents, frames) for latents in self._latents], even_positions(len(self._latents) - 1, frames)


class Looped:
    """Sounds of which the shorter is repeated up to the length of the longer.

    Args:
        latents (`Sequence[torch.Tensor]` of shape `(..., latent_channels, frames)`): Latents of two sounds or more.
    """

    def __init__(self, latents: Sequence[Tensor]) -> None:
        self._latents = latents

    def at(self, weight: float, leg: int = 0) -> tuple[Tensor, Tensor]:
        """Return two sounds with the length of the longer; at weight 0 with that of the first, at 1 of the second."""
        first, second = self._latents[leg : leg + 2]
        frames = int(self.length(first.shape[-1], second.shape[-1], weight))
        return loop(first, frames), loop(second, frames)

    def length(self, first: float, second: float, weight: float) -> float:
        """Return the larger length; at weight 0 the first, at 1 the second."""
        return (first, second)[int(weight)] if weight in (0, 1) else max(first, second)

    def moving(self) -> tuple[list[Tensor], Tensor]:
        """Return all sounds in the length of the longest, with even positions."""
        frames = max(latents.shape[-1] for latents in self._latents)
        return [loop(latents, frames) for latents in self._latents], even_positions(len(self._latents) - 1, frames)


ALIGNMENTS: dict[str, Callable[[Sequence[Tensor]], Alignment]] = {
    "stretch": Stretched,
    "loop": Looped,
    "warp": lambda latents: warp(*latents),
}


@dataclass(frozen=True)
class Morph:
    """Latents between two neighbouring sounds.

    Attributes:
        leg (`int`): Index of the first of both sounds.
        weight (`float`): Weight of the second one, 0 to 1.
        latents (`torch.Tensor` of shape `(..., latent_channels, frames)`): The latents.
    """

    leg: int
    weight: float
    latents: Tensor


def morphs(alignment: Alignment, num_sounds: int, steps: int, *, method: str = "linear") -> Iterator[Morph]:
    """Yield latents at even steps of the path through sounds, both ends included.

    Args:
        alignment (`Alignment`): The sounds, such as ``Stretched([first, second])`` or ``warp(first, second)``.
        num_sounds (`int`): Their number.
        steps (`int`): Number of latents, 2 or more.
        method (`str`): See `interpolate`.

    Raises:
        ValueError: See `interpolate` and `path_steps`.

    Example:
        >>> path = morphs(Stretched([torch.zeros(1, 3), torch.ones(1, 1)]), 2, 3)
        >>> [morph.latents.tolist() for morph in path]
        [[[0.0, 0.0, 0.0]], [[0.5, 0.5]], [[1.0]]]
    """
    for leg, weight in path_steps(num_sounds, steps):
        yield Morph(leg, weight, interpolate(*alignment.at(weight, leg), weight, method=method))


def moving_morph(alignment: Alignment, *, method: str = "linear") -> Tensor:
    """Return the latents of one sound that begins as the first sound and ends as the last.

    Args:
        alignment (`Alignment`): The sounds.
        method (`str`): See `interpolate`.

    Returns:
        `torch.Tensor` of shape `(..., latent_channels, frames)`: Its first frame is bit-equal to that of the first
        sound, and its last frame to that of the last one as it was aligned.

    Raises:
        ValueError: See `interpolate`.

    Example:
        >>> moving_morph(Stretched([torch.zeros(1, 2), torch.ones(1, 5)])).tolist()
        [[0.0, 0.25, 0.5, 0.75, 1.0]]
    """
    sounds, position = alignment.moving()
    legs = position.floor().clamp(max=len(sounds) - 2).long()
    parts = []
    for leg, (first, second) in enumerate(zip(sounds, sounds[1:], strict=False)):
        here = legs == leg  # positions rise, so these frames are in sequence
        weights = (position[here] - leg).clamp(0, 1)
        parts.append(interpolate(first[..., here], second[..., here], weights, method=method))
    return torch.cat(parts, dim=-1)
