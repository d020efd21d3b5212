"""A stationary Gaussian autoregression of latents over frames."""

import torch
from torch import Tensor

from hf_audio_vae.latents.noise import frame_noise
from hf_audio_vae.latents.samplers import LatentSampler, symmetric_root, with_ridge


class AutoregressiveGaussian(LatentSampler):
    """A vector autoregression, ``x_t = A_1 x_{t-1} + … + A_p x_{t-p} + u_t``, with Gaussian innovations ``u_t``.

    The coefficients solve the multivariate Yule-Walker equations (Lütkepohl, 2005, equation 2.1.39). Samples have
    exactly the given covariances of lags 0 to p, from the first frame on: the first p frames are drawn from their
    joint distribution.

    A `truncation` limits the norm of the whitened innovation of each frame, see `frame_noise`.

    Args:
        mean (`torch.Tensor` of shape `(latent_channels,)`): Mean.
        covariances (`torch.Tensor` of shape `(order + 1, latent_channels, latent_channels)`):
            ``E[(z_{t+k} - m) (z_t - m)ᵀ]`` for the lags k = 0 to `order`, 1 or more, as of `FrameMoments`.

    Raises:
        ValueError: The order is 0, or no stationary process has these covariances.
    """

    def __init__(self, mean: Tensor, covariances: Tensor) -> None:
        if len(covariances) < 2:
            raise ValueError("the covariances of lag 0 alone make no autoregression; give those of lag 1, too.")
        self.mean, self.latent_channels = mean.double(), len(mean)
        covariances = covariances.double().clone()
        covariances[0] = with_ridge(covariances[0])
        self.coefficients, self.innovation = yule_walker(covariances)
        self.spectral_radius = spectral_radius(self.coefficients)
        if not self.spectral_radius < 1:
            raise ValueError(
                f"the autoregression has spectral radius {self.spectral_radius:.6f}, so it is not stationary; use "
                f"covariances of `FrameMoments`, of more frames."
            )
        order = len(self.coefficients)
        self._first = symmetric_root(block_toeplitz(covariances[:order]))
        self._root = symmetric_root(self.innovation)

    def _draw(
        self, frames: int, batch: int, generator: torch.Generator | None, temperature: float, truncation: float | None
    ) -> Tensor:
        order, channels = len(self.coefficients), self.latent_channels
        count = max(frames, order)
        noise = frame_noise(batch, count, channels, generator=generator, truncation=truncation)
        drawn = torch.empty_like(noise)
        # The root is that of the covariance of (x_{p-1}, …, x_0).
        drawn[:, :order] = (noise[:, :order].flatten(1) @ self._first).unflatten(1, (order, channels)).flip(1)
        innovations = noise @ self._root
        steps = self.coefficients.transpose(1, 2).flatten(0, 1)  # (order * channels, channels)
        for t in range(order, count):
            past = drawn[:, t - order : t].flip(1).flatten(1)  # newest first, (batch, order * channels)
            drawn[:, t] = past @ steps + innovations[:, t]
        return self.mean + temperature * drawn[:, :frames]


def yule_walker(covariances: Tensor) -> tuple[Tensor, Tensor]:
    """Solve the multivariate Yule-Walker equations (Lütkepohl, 2005, section 2.1.4).

    Args:
        covariances (`torch.Tensor` of shape `(order + 1, channels, channels)`): ``E[x_{t+k} x_tᵀ]`` for k = 0 to
            `order`.

    Returns:
        Coefficients ``A_1, …, A_p``, (order, channels, channels), and the covariance of the innovations.

    Raises:
        ValueError: The equations have no solution.
    """
    order = len(covariances) - 1
    known = covariances[1:].transpose(0, 1).flatten(1)  # [Γ(1), …, Γ(p)], (channels, order * channels)
    matrix = block_toeplitz(covariances[:order])
    try:
        factor = torch.linalg.cholesky(matrix)
    except torch.linalg.LinAlgError as error:
        raise ValueError(
            "the covariances of the latents are not positive definite, so no stationary process has them; measure "
            "them on more frames."
        ) from error
    solution = torch.cholesky_solve(known.T, factor).T
    innovation = covariances[0] - solution @ known.T
    coefficients = solution.unflatten(1, (order, -1)).transpose(0, 1)
    return coefficients, (innovation + innovation.T) / 2


def block_toeplitz(covariances: Tensor) -> Tensor:
    """Covariance of ``(x_{p-1}, …, x_0)``: the block in row i and column j is that of lag j - i.

    Args:
        covariances (`torch.Tensor` of shape `(p, channels, channels)`): Those of lags 0 to p - 1.
    """
    order = len(covariances)
    rows = [
        torch.cat([covariances[j - i] if j >= i else covariances[i - j].T for j in range(order)], dim=1)
        for i in range(order)
    ]
    return torch.cat(rows)


def spectral_radius(coefficients: Tensor) -> float:
    """Largest magnitude of an eigenvalue of the companion matrix; a process is stationary if it is below 1.

    Args:
        coefficients (`torch.Tensor` of shape `(order, channels, channels)`): Of an autoregression.

    Example:
        >>> round(spectral_radius(torch.tensor([[[0.5]]], dtype=torch.float64)), 3)
        0.5
    """
    order, channels = coefficients.shape[:2]
    companion = torch.eye(order * channels, dtype=coefficients.dtype).roll(channels, dims=0)
    companion[:channels] = coefficients.transpose(0, 1).flatten(1)
    return float(torch.linalg.eigvals(companion).abs().max())
