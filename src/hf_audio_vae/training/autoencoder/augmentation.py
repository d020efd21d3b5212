"""Random transformations of latents and targets in training, which make an autoencoder linear.

Torres et al., 2025 (arXiv:2510.23530): the encoder reads the sound itself, the latents are transformed, and the
decoder has to produce the transformed sound.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from hf_audio_vae.latents.transformations import Chain, Gain, Mix, Shift, Transformation

SEED_OFFSET = 1 << 40  # from the noise of the posterior, which has the seed of the item itself


class RandomTransformation(Protocol):
    """A transformation with random values."""

    def __call__(self, generators: Sequence[torch.Generator]) -> Transformation:
        """Draw the values of each item from its generator."""


class RandomGain:
    """Gain of each item, uniform in dB.

    Args:
        decibels (`float`): Largest gain and largest attenuation.
        probability (`float`): Share of items that change.
    """

    def __init__(self, decibels: float = 12.0, probability: float = 0.5) -> None:
        self.decibels, self.probability = decibels, _checked(probability)

    def __call__(self, generators: Sequence[torch.Generator]) -> Gain:
        """See `RandomTransformation`."""
        changes = _uniform(generators) < self.probability
        levels = (2 * _uniform(generators) - 1) * self.decibels
        return Gain(torch.where(changes, 10 ** (levels / 20), 1.0))


class RandomPolarity:
    """Inversion of each item.

    Args:
        probability (`float`): Share of items that are inverted.
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = _checked(probability)

    def __call__(self, generators: Sequence[torch.Generator]) -> Gain:
        """See `RandomTransformation`."""
        return Gain(torch.where(_uniform(generators) < self.probability, -1.0, 1.0))


class RandomMix:
    """Sum of each item and the next one in the batch of its process.

    Args:
        probability (`float`): Share of items that become a sum.
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = _checked(probability)

    def __call__(self, generators: Sequence[torch.Generator]) -> Mix:
        """See `RandomTransformation`."""
        partners = torch.arange(1, len(generators) + 1) % len(generators)
        return Mix(partners, (_uniform(generators) < self.probability).float())


class RandomShift:
    """Delay of each item, uniform from 0 to a frame.

    Args:
        hop_length (`int`): Samples per frame.
    """

    def __init__(self, hop_length: int) -> None:
        self.hop_length = hop_length

    def __call__(self, generators: Sequence[torch.Generator]) -> Shift:
        """See `RandomTransformation`."""
        return Shift((_uniform(generators) * (self.hop_length + 1)).long(), self.hop_length)


AUGMENTATIONS = {"mix": RandomMix, "gain": RandomGain, "polarity": RandomPolarity, "shift": RandomShift}


class LatentAugmentation:
    """Transformations with values that depend on the seeds of the items only.

    Args:
        parts (`Sequence[RandomTransformation]`): Transformations in order.
    """

    def __init__(self, parts: Sequence[RandomTransformation]) -> None:
        self.parts = parts

    def __call__(self, seeds: Sequence[int]) -> Transformation:
        """Draw the transformation of a batch."""
        generators = [torch.Generator().manual_seed(seed + SEED_OFFSET) for seed in seeds]
        return Chain([part(generators) for part in self.parts])


def _uniform(generators: Sequence[torch.Generator]) -> Tensor:
    """One number in [0, 1) from each generator, (batch,)."""
    return torch.cat([torch.rand(1, generator=generator) for generator in generators])


def _checked(probability: float) -> float:
    if not 0 <= probability <= 1:
        raise ValueError(f"`probability` is {probability}; give a share from 0 to 1")
    return probability
