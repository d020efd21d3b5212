"""Principal axes of vectors, or of the frames of latents."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.latents.clip_vectors import check_vectors

TIE = 1e-6  # relative difference of two coordinates that counts as rounding


@dataclass(frozen=True)
class PrincipalAxes:
    """Orthogonal directions of the largest variance, in order (Pearson, 1901, doi:10.1080/14786440109462720).

    The sign of a direction is arbitrary. Here the first of its largest coordinates is positive.

    Args:
        mean (`torch.Tensor` of shape `(dimensions,)`): Mean.
        directions (`torch.Tensor` of shape `(axes, dimensions)`): Orthonormal directions.
        variances (`torch.Tensor` of shape `(axes,)`): Variance along each, the largest first.

    Example:
        >>> axes = PrincipalAxes.fit(torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
        >>> [round(value, 6) for value in axes.directions[0].tolist()], round(float(axes.shares[0]), 6)
        ([0.6, 0.8], 1.0)
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor

    @classmethod
    def fit(cls, vectors: Tensor) -> "PrincipalAxes":
        """Return all axes of a set of vectors, by a singular value decomposition in float64.

        Args:
            vectors (`torch.Tensor` of shape `(clips, dimensions)`): Such as those of `standardized`.

        Returns:
            `PrincipalAxes`: `min(clips, dimensions)` axes, with variances that divide by the number of clips.

        Raises:
            ValueError: The shape is another one, or there are values that are not finite.
        """
        check_vectors(vectors)
        values = vectors.detach().cpu().double()
        mean = values.mean(dim=0)
        _, singular, directions = torch.linalg.svd(values - mean, full_matrices=False)
        return cls(mean, with_fixed_signs(directions), singular.square() / len(values))

    @classmethod
    def of_covariance(cls, mean: Tensor, covariance: Tensor) -> "PrincipalAxes":
        """Return all axes of a measured covariance, such as that of the frames of a data set.

        Args:
            mean (`torch.Tensor` of shape `(latent_channels,)`): Mean.
            covariance (`torch.Tensor` of shape `(latent_channels, latent_channels)`): Covariance, such as
                `FrameMoments.covariances[0]`.

        Raises:
            ValueError: The shapes do not fit, or there are values that are not finite.
        """
        if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
            raise ValueError(
                f"`mean` has shape {tuple(mean.shape)} and `covariance` {tuple(covariance.shape)}; give (channels,) "
                f"and (channels, channels)."
            )
        if not bool(mean.isfinite().all() and covariance.isfinite().all()):
            raise ValueError("`mean` or `covariance` has NaN or infinite values; measure them again.")
        values, vectors = torch.linalg.eigh(covariance.detach().cpu().double())  # ascending, in columns
        variances = values.flip(0).clamp(min=0)  # below 0 by rounding
        return cls(mean.detach().cpu().double(), with_fixed_signs(vectors.T.flip(0)), variances)

    @property
    def shares(self) -> Tensor:
        """Share of the variance along each axis, (axes,); 0 if there is no variance."""
        total = self.variances.sum()
        return self.variances / torch.where(total > 0, total, 1.0)

    def project(self, vectors: Tensor) -> Tensor:
        """Return coordinates on the axes; (..., dimensions) -> (..., axes), float64.

        Raises:
            ValueError: The number of dimensions is another one.
        """
        if not vectors.ndim or vectors.shape[-1] != len(self.mean):
            raise ValueError(
                f"`vectors` has shape {tuple(vectors.shape)}; the axes are those of (..., {len(self.mean)})."
            )
        return (vectors.detach().cpu().double() - self.mean) @ self.directions.T

    def measure(self, latents: Tensor) -> Tensor:
        """Return the coordinates of each frame in standard deviations of the axes.

        Args:
            latents (`torch.Tensor` of shape `(..., latent_channels, frames)`): Latents.

        Returns:
            float64 `torch.Tensor` of shape `(..., axes, frames)`: 0 along axes without variance.

        Raises:
            ValueError: The latents have another number of channels.
        """
        self._check_latents(latents)
        coordinates, std = self.project(latents.transpose(-1, -2)).transpose(-1, -2), self.variances.sqrt()[:, None]
        return torch.where(std > 0, coordinates / torch.where(std > 0, std, 1.0), 0.0)

    def move(self, latents: Tensor, axis: int, amount: float | Tensor) -> Tensor:
        """Move each frame of latents along an axis.

        Args:
            latents (`torch.Tensor` of shape `(..., latent_channels, frames)`): Latents.
            axis (`int`): Number of the axis, 0 for that of the largest variance.
            amount (`float` or `torch.Tensor` of shape `(frames,)`): Distance in standard deviations of the axis, or
                that of each frame.

        Returns:
            `torch.Tensor`, same shape and dtype; `measure` of the axis is larger by `amount`, that of others is equal.

        Raises:
            ValueError: There is no such axis, or the latents have another number of channels.
        """
        if not 0 <= axis < len(self.variances):
            raise ValueError(f"`axis` is {axis}; there are axes 0 to {len(self.variances) - 1}.")
        self._check_latents(latents)
        step = self.variances[axis].sqrt() * self.directions[axis]
        return latents + amount * step.to(latents)[:, None]

    def _check_latents(self, latents: Tensor) -> None:
        if latents.ndim < 2 or latents.shape[-2] != len(self.mean):
            raise ValueError(
                f"the latents have shape {tuple(latents.shape)}; the axes are those of {len(self.mean)} channels, "
                f"(..., channels, frames)."
            )


def with_fixed_signs(directions: Tensor) -> Tensor:
    """Make the first of the largest coordinates of each direction positive, (axes, dimensions)."""
    magnitudes = directions.abs()
    largest = magnitudes >= (1 - TIE) * magnitudes.amax(dim=1, keepdim=True)
    first = largest.int().argmax(dim=1, keepdim=True)  # of equal values, the first
    return directions * directions.gather(1, first).sign()
