"""Adversarial losses for discriminators that return scores and feature maps as lists of tensors.

Every loss is a mean over scores, then over sub-discriminators, so a batch's loss is the mean over its items.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class AdversarialLoss(Protocol):
    """Losses of the discriminator and the generator."""

    boundary: float
    """Scores above it mean "real"."""

    def discriminator(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """Scores of real sound and of reconstructions -> scalar, small if the discriminator separates them."""

    def generator(self, fake: Sequence[Tensor]) -> Tensor:
        """Scores of reconstructions -> scalar, small if they are scored as real."""


class HingeLoss:
    """Pushes real scores above 1 and reconstruction scores below -1, no further (Lim & Ye, 2017, arXiv:1705.02894).

    Example:
        >>> real, fake = [torch.tensor([0.5, 2.0])], [torch.tensor([0.0, -3.0])]  # one sub-discriminator, two scores
        >>> HingeLoss().discriminator(real, fake), HingeLoss().generator(fake)
        (tensor(0.7500), tensor(1.5000))
    """

    boundary = 0.0

    def discriminator(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """``max(0, 1 - D(x)) + max(0, 1 + D(y))``."""
        return _mean([(1 - score).relu() for score in real]) + _mean([(1 + score).relu() for score in fake])

    def generator(self, fake: Sequence[Tensor]) -> Tensor:
        """``-D(y)``."""
        return -_mean(fake)


class LeastSquaresLoss:
    """Pulls real scores to 1 and reconstruction scores to 0 (Mao et al., 2017, arXiv:1611.04076; HiFi-GAN, DAC).

    Example:
        >>> LeastSquaresLoss().generator([torch.tensor([1.0, 0.0])])
        tensor(0.5000)
    """

    boundary = 0.5

    def discriminator(self, real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
        """``(1 - D(x))^2 + D(y)^2``."""
        return _mean([(1 - score).square() for score in real]) + _mean([score.square() for score in fake])

    def generator(self, fake: Sequence[Tensor]) -> Tensor:
        """``(1 - D(y))^2``."""
        return _mean([(1 - score).square() for score in fake])


def feature_matching(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of feature maps, over layers, then over sub-discriminators; -> scalar.

    Both contain a list of maps for every sub-discriminator, with equal shapes.

    Larsen et al., 2016 (arXiv:1512.09300); L1 as in MelGAN (Kumar et al., 2019, arXiv:1910.06711).
    """
    per_discriminator = [
        torch.stack([(y - x).abs().mean() for x, y in zip(*maps, strict=True)]).mean()
        for maps in zip(real, fake, strict=True)
    ]
    return torch.stack(per_discriminator).mean()


def accuracy(real: Sequence[Tensor], fake: Sequence[Tensor], boundary: float) -> Tensor:
    """Share of scores on the correct side of the boundary: 0.5 is chance, 1 a perfect discriminator."""
    correct = [(score > boundary).float() for score in real] + [(score <= boundary).float() for score in fake]
    return _mean(correct)


def _mean(scores: Sequence[Tensor]) -> Tensor:
    return torch.stack([score.mean() for score in scores]).mean()
