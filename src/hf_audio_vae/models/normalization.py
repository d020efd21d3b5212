"""Normalisation of latents to zero mean and unit variance per channel, for diffusion models."""

import json
import math
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.files.writing import replacing


def check_statistics(
    latents_mean: Sequence[float] | None, latents_std: Sequence[float] | None, latent_channels: int
) -> None:
    """Raise `ValueError` unless both are missing, or hold one number per channel with positive deviations."""
    if latents_mean is None and latents_std is None:
        return
    if latents_mean is None or latents_std is None:
        raise ValueError(f"`latents_mean` is {latents_mean} and `latents_std` {latents_std}; give both or neither.")
    for name, values in (("latents_mean", latents_mean), ("latents_std", latents_std)):
        if not isinstance(values, list | tuple) or not all(isinstance(value, Real) for value in values):
            raise ValueError(f"`{name}` is {values!r}; give a list of numbers.")
    if len(latents_mean) != latent_channels or len(latents_std) != latent_channels:
        raise ValueError(
            f"`latents_mean` has {len(latents_mean)} values and `latents_std` {len(latents_std)}; give one for each "
            f"of the {latent_channels} latent channels."
        )
    if not all(map(math.isfinite, (*latents_mean, *latents_std))):
        raise ValueError(f"`latents_mean` {latents_mean} or `latents_std` {latents_std} is not finite; measure again.")
    if min(latents_std) <= 0:
        raise ValueError(f"`latents_std` holds {min(latents_std)}; a constant channel cannot be scaled.")


def write_statistics(
    folder: Path, latents_mean: Sequence[float], latents_std: Sequence[float], *, overwrite: bool = False
) -> bool:
    """Add statistics to the configuration of a saved model, unless it has some.

    Args:
        folder (`Path`): Folder of the model.
        latents_mean (`Sequence[float]`): Mean of each latent channel.
        latents_std (`Sequence[float]`): Standard deviation of each channel.
        overwrite (`bool`): Replace existing ones, which a denoiser may depend on.

    Returns:
        `bool`: Whether they were written.
    """
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if config.get("latents_mean") is not None and not overwrite:
        return False
    config |= {"latents_mean": list(latents_mean), "latents_std": list(latents_std)}
    with replacing(path) as partial:
        partial.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return True


class NormalizedLatentsMixin:
    """Normalisation by the statistics in a model's configuration, `latents_mean` and `latents_std` by channel."""

    config: Any

    @property
    def has_latent_statistics(self) -> bool:
        """Whether the configuration has `latents_mean` and `latents_std`."""
        return self.config.latents_mean is not None

    def normalize_latents(self, latents: Tensor) -> Tensor:
        """Return ``(latents - latents_mean) / latents_std``.

        Args:
            latents (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Latents as `encode` returns them.

        Returns:
            `torch.Tensor`, same shape: Mean 0 and variance 1 in each channel over the measured data.

        Raises:
            ValueError: The model has no statistics; see `has_latent_statistics`.
        """
        mean, std = self._statistics(latents)
        return (latents - mean) / std

    def denormalize_latents(self, latents: Tensor) -> Tensor:
        """Undo `normalize_latents`: ``latents * latents_std + latents_mean``, for `decode`; raises likewise."""
        mean, std = self._statistics(latents)
        return latents * std + mean

    def _statistics(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (latent_channels, 1) each."""
        if not self.has_latent_statistics:
            raise ValueError(
                "the model has no `latents_mean` and `latents_std`, so its latents have no known scale; measure them "
                "with `hf-audio-vae statistics MODEL --dataset_name DATA`, or set them with `register_to_config`."
            )
        values = (self.config.latents_mean, self.config.latents_std)
        mean, std = (torch.tensor(value, dtype=like.dtype, device=like.device)[:, None] for value in values)
        return mean, std
