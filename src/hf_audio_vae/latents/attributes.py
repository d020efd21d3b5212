"""Attributes of sound as directions in the latents, for arithmetic such as "note - dark + bright"."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.latents.checked_files import load_tensors, save_tensors

ATTRIBUTE_FORMAT = "hf_audio_vae.attribute.v1"
REMEDY = "measure it again with `hf-audio-vae arithmetic --save_vector`"


@dataclass(frozen=True)
class AttributeVector:
    """A direction in the latents of a model along which an attribute of the sound changes.

    Args:
        name (`str`): Attribute, such as "velocity".
        direction (`torch.Tensor` of shape `(latent_channels,)`): Change of the latents of every frame for a change of
            the attribute by 1.
        weights (`str`): Fingerprint of the model.
    """

    name: str
    direction: Tensor
    weights: str

    def apply(self, latents: Tensor, strength: float | Tensor) -> Tensor:
        """Change the attribute of latents.

        Args:
            latents (`torch.Tensor` of shape `(..., latent_channels, frames)`): Latents.
            strength (`float` or `torch.Tensor` of shape `(frames,)`): Change of the attribute, or that of each frame.

        Raises:
            ValueError: The latents have another number of channels.
        """
        if latents.ndim < 2 or latents.shape[-2] != len(self.direction):
            raise ValueError(
                f"the latents have shape {tuple(latents.shape)}; the attribute {self.name!r} changes latents of "
                f"{len(self.direction)} channels, (..., channels, frames)."
            )
        return latents + strength * self.direction.to(latents)[:, None]

    def measure(self, latents: Tensor) -> Tensor:
        """Return the attribute of each frame, (..., frames), up to a constant: the projection on the direction."""
        direction = self.direction.to(latents)
        return torch.einsum("...cf,c->...f", latents, direction / direction.square().sum())

    def orthogonal_to(self, others: Sequence["AttributeVector"]) -> "AttributeVector":
        """Return the part of the direction that does not change what `measure` of other attributes returns.

        Raises:
            ValueError: Nothing is left, or an attribute is of another model.
        """
        for other in others:
            other.check_model(self.weights)
        if not others:
            return self
        basis = torch.stack([other.direction for other in others], dim=1).double()  # (latent_channels, others)
        direction = self.direction.double()
        rest = direction - basis @ torch.linalg.lstsq(basis, direction[:, None]).solution[:, 0]
        if rest.norm() < 1e-6 * direction.norm():
            names = ", ".join(repr(other.name) for other in others)
            raise ValueError(f"nothing of {self.name!r} is left without {names}; leave one of them out.")
        return replace(self, direction=rest.to(self.direction.dtype))

    def check_model(self, weights: str) -> None:
        """Raise `ValueError` unless the direction is one in the latents of a model with this fingerprint."""
        if differing := fingerprint_differences(self.weights, weights):
            raise ValueError(
                f"the attribute {self.name!r} is of a model with other {' and '.join(differing)}; name that model, or "
                f"{REMEDY}."
            )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        metadata = {"format": ATTRIBUTE_FORMAT, "name": self.name, "weights": self.weights}
        save_tensors(path, {"direction": self.direction}, metadata)

    @classmethod
    def load(cls, path: str | Path) -> "AttributeVector":
        """Read a file written by `save`.

        Raises:
            ValueError: The file has another format, is damaged, or its content is not that of an attribute.
            OSError: The file cannot be opened.
        """
        tensors, metadata = load_tensors(path, ATTRIBUTE_FORMAT, "an attribute", REMEDY)
        direction = tensors.get("direction", torch.zeros(0))
        if direction.ndim != 1 or not len(direction) or not bool(direction.isfinite().all()):
            raise ValueError(f"{path} has no `direction` of finite numbers, (latent_channels,); {REMEDY}.")
        return cls(metadata["name"], direction, metadata["weights"])


def mean_latents(latents: Tensor) -> Tensor:
    """Average over frames, which makes clips of all lengths comparable; (..., latent_channels, frames) -> (...)."""
    return latents.double().mean(dim=-1)


def difference_of_means(with_attribute: Tensor, without: Tensor) -> Tensor:
    """Return the direction from clips without an attribute to clips with it.

    Args:
        with_attribute (`torch.Tensor` of shape `(clips, latent_channels)`): From `mean_latents`.
        without (`torch.Tensor` of shape `(other clips, latent_channels)`): Likewise.

    Returns:
        `torch.Tensor` of shape `(latent_channels,)`: Difference of the means, for a strength of 1.
    """
    return with_attribute.mean(dim=0) - without.mean(dim=0)


def regression(latents: Tensor, labels: Tensor) -> Tensor:
    """Return the directions of several numeric attributes, each with the others held constant.

    The latents are predicted from all labels together by least squares. The direction of a label is its coefficients.

    Args:
        latents (`torch.Tensor` of shape `(clips, latent_channels)`): From `mean_latents`.
        labels (`torch.Tensor` of shape `(clips, attributes)`): Values of the attributes.

    Returns:
        `torch.Tensor` of shape `(attributes, latent_channels)`: Change of the latents by unit of each label.

    Raises:
        ValueError: The labels are constant or linearly dependent, or there are too few clips.
    """
    x = labels.double() - labels.double().mean(dim=0)
    if len(labels) <= labels.shape[1] or int(torch.linalg.matrix_rank(x)) < labels.shape[1]:
        raise ValueError(
            f"{len(labels)} clips do not determine the directions of {labels.shape[1]} attributes, since their labels "
            f"are constant or depend on each other; give more clips, or fewer attributes."
        )
    return torch.linalg.lstsq(x, latents.double() - latents.double().mean(dim=0)).solution
