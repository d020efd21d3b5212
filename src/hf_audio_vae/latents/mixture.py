"""A Gaussian mixture of the frames of a data set, fitted by scikit-learn."""

import warnings

import torch
from torch import Tensor

from hf_audio_vae.latents.samplers import GaussianMixture

FRAMES_PER_COMPONENT = 20  # times the channels; fewer make a covariance that describes single frames


class FrameReservoir:
    """A uniform random subset of the frames of a data set, sampled from their posteriors.

    Each frame gets a random key, and the frames with the largest keys are kept (Efraimidis & Spirakis, 2006, with
    equal weights).

    Args:
        size (`int`): Number of frames to keep.
        seed (`int`): Seed of the keys and of the noise.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._generator = torch.Generator().manual_seed(seed)
        self._keys = torch.zeros(0)
        self._frames = torch.zeros(0, 0)

    def add(self, mean: Tensor, std: Tensor) -> None:
        """Add a posterior, `mean` and `std` (latent_channels, frames)."""
        mean, std = mean.detach().cpu().float().T, std.detach().cpu().float().T
        drawn = mean + std * torch.randn(mean.shape, generator=self._generator)
        keys = torch.rand(len(drawn), generator=self._generator)
        if len(self._keys):
            keys, drawn = torch.cat([self._keys, keys]), torch.cat([self._frames, drawn])
        kept = keys.topk(min(self.size, len(keys))).indices
        self._keys, self._frames = keys[kept], drawn[kept]

    @property
    def frames(self) -> Tensor:
        """The frames, float32 (up to `size`, latent_channels)."""
        return self._frames


def fit_mixture(frames: Tensor, components: int, *, seed: int = 0) -> GaussianMixture:
    """Fit a Gaussian mixture with full covariances by expectation maximisation.

    Args:
        frames (`torch.Tensor` of shape `(frames, latent_channels)`): Latents.
        components (`int`): Number of Gaussians. It is reduced until there are 20 frames per channel and component.
        seed (`int`): Seed of the start.

    Raises:
        ValueError: `components` is less than 1, or there are no frames.
        ModuleNotFoundError: scikit-learn is not installed; it is in the extra `latents`.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Fitted

    if components < 1 or not len(frames):
        raise ValueError(f"{components} components cannot be fitted to {len(frames)} frames; give 1 or more of each.")
    components = max(1, min(components, len(frames) // (FRAMES_PER_COMPONENT * frames.shape[1])))
    scale = float(frames.std(dim=0, correction=0).mean())
    fitted = Fitted(components, init_params="k-means++", reg_covar=1e-6 * scale**2, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last step is a mixture of the data as well
        fitted.fit(frames.double().numpy())
    parts = (fitted.weights_, fitted.means_, fitted.covariances_)
    return GaussianMixture(*(torch.from_numpy(part).float() for part in parts))
