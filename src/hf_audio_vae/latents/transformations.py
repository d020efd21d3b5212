"""Transformations of sound that have a counterpart in the latents of a linear autoencoder.

An autoencoder is linear if the decoder turns a gain of the latents into a gain of the sound, and a sum of latents into
a sum of sounds (Torres et al., 2025, arXiv:2510.23530).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Transformation(Protocol):
    """The same change of latents and of waveforms."""

    def latents(self, z: Tensor) -> Tensor:
        """Transform latents (batch, latent_channels, frames)."""

    def waveform(self, x: Tensor) -> Tensor:
        """Transform waveforms (batch, audio_channels, time)."""


@dataclass(frozen=True)
class Gain:
    """Multiplication of each item by a number.

    Args:
        factors (`torch.Tensor` of shape `(batch,)`): Factors; -1 inverts the polarity.
    """

    factors: Tensor

    def latents(self, z: Tensor) -> Tensor:
        """Transform latents (batch, latent_channels, frames)."""
        return z * self.factors.to(z)[:, None, None]

    waveform = latents


@dataclass(frozen=True)
class Mix:
    """Sum of each item and another item of the batch.

    Args:
        partners (`torch.Tensor` of shape `(batch,)`): Index of the item that is added.
        factors (`torch.Tensor` of shape `(batch,)`): Its factor; 0 adds nothing.
    """

    partners: Tensor
    factors: Tensor

    def latents(self, z: Tensor) -> Tensor:
        """Transform latents (batch, latent_channels, frames)."""
        return z + z[self.partners.to(z.device)] * self.factors.to(z)[:, None, None]

    waveform = latents


@dataclass(frozen=True)
class Shift:
    """Delay of each item by less than a frame; the result starts a frame later, so that no sound is missing.

    Latents are interpolated linearly between frames.

    Args:
        samples (`torch.Tensor` of shape `(batch,)`): Delays in samples, from 0 to `hop_length`.
        hop_length (`int`): Samples per frame.
    """

    samples: Tensor
    hop_length: int

    def latents(self, z: Tensor) -> Tensor:
        """(batch, latent_channels, frames) -> (batch, latent_channels, frames - 1); `ValueError` if frames is 1."""
        if z.shape[-1] < 2:
            raise ValueError("a shift needs 2 frames or more; use longer sounds.")
        return torch.lerp(z[..., 1:], z[..., :-1], (self.samples / self.hop_length).to(z)[:, None, None])

    def waveform(self, x: Tensor) -> Tensor:
        """(batch, audio_channels, time) -> (batch, audio_channels, time - hop_length)."""
        time = x.shape[-1] - self.hop_length
        starts = (self.hop_length - self.samples).tolist()
        return torch.stack([item[:, start : start + time] for item, start in zip(x, starts, strict=True)])


@dataclass(frozen=True)
class Chain:
    """Several transformations, one after another.

    Args:
        parts (`Sequence[Transformation]`): Transformations in order.
    """

    parts: Sequence[Transformation]

    def latents(self, z: Tensor) -> Tensor:
        """Transform latents."""
        for part in self.parts:
            z = part.latents(z)
        return z

    def waveform(self, x: Tensor) -> Tensor:
        """Transform waveforms."""
        for part in self.parts:
            x = part.waveform(x)
        return x
