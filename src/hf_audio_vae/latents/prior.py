"""What the latents of a model look like on a data set: a file beside the model, samples, and distances from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.latents.autoregression import AutoregressiveGaussian
from hf_audio_vae.latents.checked_files import load_tensors, save_tensors
from hf_audio_vae.latents.frame_moments import FrameMoments
from hf_audio_vae.latents.principal_axes import PrincipalAxes
from hf_audio_vae.latents.samplers import (
    CorrelatedGaussian,
    GaussianMixture,
    LatentSampler,
    StandardNormal,
    with_ridge,
)

PRIOR_FILE = "latent_prior.safetensors"  # in the folder of a model
PRIOR_FORMAT = "hf_audio_vae.latent_prior.v1"
PRIORS = ("standard", "gaussian", "autoregressive", "mixture")
QUANTILES = 201  # of the distances of held-out clips: the percentiles 0, 0.5, …, 100
MIXTURE = ("weights", "means", "covariances")
REMEDY = "measure it again with `hf-audio-vae statistics MODEL --dataset_name DATA --overwrite`"


@dataclass(frozen=True)
class PriorInfo:
    """Origin of a `LatentPrior`.

    Args:
        weights (`str`): Fingerprint of the model.
        frame_rate (`float`): Frames per second.
        dataset_name (`str`): Name of the data set; of a folder, the last part of its path.
        dataset_split (`str`): Its split.
        items (`int`): Number of items of the fit.
        frames (`int`): Number of frames of the fit.
        held_out_items (`int`): Number of items that calibrate the distance.
    """

    weights: str
    frame_rate: float
    dataset_name: str
    dataset_split: str
    items: int
    frames: int
    held_out_items: int

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Parse the metadata of a file; raises `ValueError` if some is missing."""
        types = {name: field.type for name, field in cls.__dataclass_fields__.items()}
        if missing := [name for name in types if name not in metadata]:
            raise ValueError(f"it has no metadata {', '.join(missing)}")
        convert = {int: int, float: float, str: str}
        return cls(**{name: convert[kind](metadata[name]) for name, kind in types.items()})  # type: ignore[index]


class LatentPrior:
    """Moments of the latents of a model on a data set, as a distribution that can be sampled.

    Args:
        mean (`torch.Tensor` of shape `(latent_channels,)`): Mean.
        covariances (`torch.Tensor` of shape `(order + 1, latent_channels, latent_channels)`): Covariances of the lags
            0 to `order`; see `FrameMoments`.
        info (`PriorInfo`): Origin.
        distances (`torch.Tensor` of shape `(quantiles,)`, *optional*): Evenly spaced quantiles of `distance` of
            held-out clips.
        mixture (`GaussianMixture`, *optional*): Mixture of the frames.

    Raises:
        ValueError: A channel is constant, or a linear function of others, or the parts do not fit each other.
    """

    def __init__(
        self,
        mean: Tensor,
        covariances: Tensor,
        info: PriorInfo,
        *,
        distances: Tensor | None = None,
        mixture: GaussianMixture | None = None,
    ) -> None:
        _check_moments(mean, covariances)
        self.mean, self.covariances, self.info = mean.double(), covariances.double(), info
        self.distances, self.mixture = distances, mixture
        try:
            self._factor = torch.linalg.cholesky(with_ridge(self.covariances[0]))
        except torch.linalg.LinAlgError as error:
            raise ValueError(
                f"the latents of {info.frames} frames do not fill their {len(mean)} channels; measure more sound."
            ) from error

    @classmethod
    def of(cls, moments: FrameMoments, info: PriorInfo, **parts: GaussianMixture | Tensor | None) -> Self:
        """Make the prior of measured moments; see the arguments of the class."""
        return cls(moments.mean, moments.covariances, info, **parts)  # type: ignore[arg-type]

    @property
    def std(self) -> Tensor:
        """Standard deviation of each channel, (latent_channels,)."""
        return self.covariances[0].diagonal().sqrt()

    @property
    def principal_axes(self) -> PrincipalAxes:
        """Principal axes of the frames, those of the covariance; `move` walks along one of them."""
        return PrincipalAxes.of_covariance(self.mean, self.covariances[0])

    def sampler(self, name: str) -> LatentSampler:
        """Return a distribution by its name in `PRIORS`.

        Raises:
            ValueError: The name is unknown, the prior has no mixture, or see `AutoregressiveGaussian`.
        """
        if name == "standard":
            return StandardNormal(self.mean, self.std)
        if name == "gaussian":
            return CorrelatedGaussian(self.mean, self.covariances[0])
        if name == "autoregressive":
            return AutoregressiveGaussian(self.mean, self.covariances)
        if name != "mixture":
            raise ValueError(f"`prior` is {name!r}; use one of {PRIORS}.")
        if self.mixture is None:
            raise ValueError(
                f"the prior has no mixture, which needs scikit-learn (pip install 'hf-audio-vae[latents]'); {REMEDY}."
            )
        return self.mixture

    def distance(self, mean: Tensor) -> float:
        """Mean over frames of the squared Mahalanobis distance of a posterior mean, divided by the channels.

        Its expectation is 1 for latents that are distributed like the data, and below 1 for their means alone, which
        lack the noise of the posterior.

        Args:
            mean (`torch.Tensor` of shape `(latent_channels, frames)`): Mean of the posterior of a clip.
        """
        if mean.ndim != 2 or len(mean) != len(self.mean) or not mean.shape[1]:
            raise ValueError(f"`mean` has shape {tuple(mean.shape)}; give ({len(self.mean)}, frames).")
        offsets = mean.detach().cpu().double() - self.mean[:, None]
        whitened = torch.linalg.solve_triangular(self._factor, offsets, upper=False)
        return float(whitened.square().mean())

    def percentile(self, distance: float) -> float | None:
        """Return the share of held-out clips with a smaller `distance`, in percent; `None` without held-out clips."""
        if self.distances is None:
            return None
        return float(np.interp(distance, self.distances.numpy(), np.linspace(0, 100, len(self.distances))))

    def check_model(self, weights: str) -> None:
        """Raise `ValueError` unless a model with this fingerprint encoded the data."""
        if differing := fingerprint_differences(self.info.weights, weights):
            raise ValueError(f"it describes the latents of a model with other {' and '.join(differing)}; {REMEDY}.")

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all."""
        tensors = {"mean": self.mean, "covariances": self.covariances}
        if self.distances is not None:
            tensors["distances"] = self.distances
        if self.mixture is not None:
            tensors |= {f"mixture_{name}": getattr(self.mixture, name) for name in MIXTURE}
        metadata = {name: str(value) for name, value in asdict(self.info).items()}
        save_tensors(path, tensors, {"format": PRIOR_FORMAT, **metadata})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by `save`.

        Raises:
            ValueError: The file has another format, is damaged, or its content is not that of a prior.
            OSError: The file cannot be opened.
        """
        tensors, metadata = load_tensors(path, PRIOR_FORMAT, "the statistics of latents", REMEDY)
        try:
            info = PriorInfo.from_metadata(metadata)
            mean, covariances = tensors.pop("mean"), tensors.pop("covariances")
            distances = tensors.pop("distances", None)
            parts = [tensors.pop(f"mixture_{name}") for name in MIXTURE] if "mixture_means" in tensors else []
            mixture = GaussianMixture(*parts) if parts else None
            return cls(mean, covariances, info, distances=distances, mixture=mixture)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{path} cannot be used: {error}; {REMEDY}.") from error


def quantiles_of(distances: Sequence[float]) -> Tensor | None:
    """Return evenly spaced quantiles of distances, float64 (QUANTILES,); `None` if there are no distances."""
    if not distances:
        return None
    values = torch.tensor(distances, dtype=torch.float64)
    return values.quantile(torch.linspace(0, 1, QUANTILES, dtype=torch.float64))


def _check_moments(mean: Tensor, covariances: Tensor) -> None:
    channels = len(mean)
    if mean.ndim != 1 or covariances.ndim != 3 or covariances.shape[1:] != (channels, channels):
        raise ValueError(
            f"`mean` has shape {tuple(mean.shape)} and `covariances` {tuple(covariances.shape)}; give (channels,) and "
            f"(order + 1, channels, channels)."
        )
    if not bool(mean.isfinite().all() and covariances.isfinite().all()):
        raise ValueError("the moments have NaN or infinite values; leave out items that the model cannot encode.")
    if constant := (covariances[0].diagonal() <= 0).nonzero().flatten().tolist():
        raise ValueError(f"channels {constant} of the latents are constant on this data, so they have no scale.")
