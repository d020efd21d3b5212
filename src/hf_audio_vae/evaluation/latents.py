"""The health of a VAE's latents: what each channel carries, which ones collapsed, how far from the prior they lie."""

import math

import torch
from torch import Tensor

from hf_audio_vae.modules.distributions import DiagonalGaussian

ACTIVE_VARIANCE = 0.01  # of the posterior mean over the data, the threshold of Burda et al., 2016


class LatentStatistics:
    """Stream over posteriors; exact statistics of the latents, channel by channel.

    The aggregate posterior q(z) is the average over all frames of their Gaussians N(μ, σ²), every frame counted alike
    and its neighbours left out of account. Its moments follow from those of μ and σ, nothing is sampled. Variances
    divide by the number of frames.

    Args:
        frame_rate (`float`): Latent frames a second.

    Raises:
        ValueError: `frame_rate` is not positive and finite.

    Example:
        >>> statistics = LatentStatistics(frame_rate=50.0)
        >>> mean = torch.tensor([[-1.0, 1.0], [0.0, 0.0]]).repeat(1, 100)[None]  # (1, 2 channels, 200 frames)
        >>> std = torch.tensor([0.1, 1.0])[None, :, None].expand_as(mean)
        >>> statistics.add(DiagonalGaussian(mean, std))
        >>> statistics.active.tolist(), round(statistics.effective_rank, 3)
        ([True, False], 1.0)
        >>> [round(bits) for bits in statistics.bits_per_second.tolist()]
        [166, 0]
    """

    def __init__(self, frame_rate: float) -> None:
        if not 0 < frame_rate < math.inf:
            raise ValueError(f"`frame_rate` is {frame_rate}; give the model's, a positive number of frames a second.")
        self.frame_rate = frame_rate
        self.frames = 0  # latent frames seen
        self._shift = torch.zeros(0, 1, dtype=torch.float64)  # (latent_channels, 1)
        self._sums: dict[str, Tensor] = {}

    def add(self, posterior: DiagonalGaussian) -> None:
        """Take in the posterior of one batch; it is measured in float64 on the CPU, whatever it comes in.

        Args:
            posterior (`DiagonalGaussian`): Over latents of shape (batch, latent_channels, frames).

        Raises:
            ValueError: Wrong rank, no frames, other channels than before, NaN or infinity, or a `std` of 0 or less.
        """
        self._check(posterior)
        mean, std = _by_channel(posterior.mean), _by_channel(posterior.std)
        # Power sums cancel unless taken about a place amid the data. About any frame of n, even the farthest off, the
        # fourth moment loses n rounding errors at most; and a channel that never changes has no offset at all.
        shift = self._shift if self.frames else mean[:, :1].clone()
        offset, variance = mean - shift, std.square()  # (latent_channels, batch * frames)
        sums = {
            "kl": DiagonalGaussian(mean, std).kl().sum(dim=1),
            "offset": offset.sum(dim=1),
            "offset²": offset @ offset.T,  # (latent_channels, latent_channels)
            "offset³": offset.pow(3).sum(dim=1),
            "offset⁴": offset.pow(4).sum(dim=1),
            "variance": variance.sum(dim=1),
            "variance offset": (variance * offset).sum(dim=1),
            "variance offset²": (variance * offset.square()).sum(dim=1),
            "variance²": variance.square().sum(dim=1),
        }
        self._sums = {name: self._sums.get(name, 0) + value for name, value in sums.items()}
        self._shift = shift
        self.frames += mean.shape[1]

    @property
    def kl_nats(self) -> Tensor:
        """KL from the unit Gaussian in nats a frame, (latent_channels,)."""
        return self._average("kl")

    @property
    def bits_per_second(self) -> Tensor:
        """The same in bits a second, (latent_channels,): at most so much of the data is told by each channel."""
        return self.kl_nats / math.log(2) * self.frame_rate

    @property
    def mean_variance(self) -> Tensor:
        """Variance of the posterior mean over the data, (latent_channels,) (Burda et al., 2016, arXiv:1509.00519)."""
        return self._covariance().diagonal().clamp_min(0)

    @property
    def active(self) -> Tensor:
        """Whether `mean_variance` is at least `ACTIVE_VARIANCE`, bool (latent_channels,)."""
        return self.mean_variance >= ACTIVE_VARIANCE

    @property
    def mean(self) -> Tensor:
        """Mean of the aggregate posterior, (latent_channels,)."""
        return self._average("offset") + self._shift[:, 0]

    @property
    def std(self) -> Tensor:
        """Standard deviation of the aggregate posterior, (latent_channels,): ``sqrt(E[σ²] + Var[μ])``."""
        return (self._average("variance") + self.mean_variance).sqrt()

    @property
    def excess_kurtosis(self) -> Tensor:
        """Of the aggregate posterior, (latent_channels,): 0 for a Gaussian, -2 for two points, above 0 for long tails.

        The fourth central moment is ``E[(μ - m)⁴ + 6 (μ - m)² σ² + 3 σ⁴]``.
        """
        m = self._average("offset")
        square = self._average("offset²").diagonal()
        fourth = self._average("offset⁴") - 4 * m * self._average("offset³") + 6 * m**2 * square - 3 * m**4
        mixed = self._average("variance offset²") - 2 * m * self._average("variance offset")
        mixed = mixed + m**2 * self._average("variance")  # E[(μ - m)² σ²]
        return (fourth + 6 * mixed + 3 * self._average("variance²")) / self.std**4 - 3

    @property
    def eigenvalues(self) -> Tensor:
        """Variances of the posterior mean along its principal axes, (latent_channels,), the largest first."""
        return torch.linalg.eigvalsh(self._covariance()).flip(0).clamp_min(0)

    @property
    def effective_rank(self) -> float:
        """How many equal, uncorrelated channels would have the same spread: exp of the `eigenvalues`' entropy.

        Roy & Vetterli, 2007, of the posterior mean's covariance. 0.0 if the posterior mean never changes.
        """
        eigenvalues = self.eigenvalues
        total = eigenvalues.sum()
        return torch.special.entr(eigenvalues / total).sum().exp().item() if total > 0 else 0.0

    @property
    def mismatch_nats(self) -> float:
        """KL from the prior, in nats a frame, of the Gaussian with the aggregate's mean m and full covariance S.

        ``0.5 (tr S + |m|² - latent_channels - log det S)``. It bounds from below the marginal KL(q(z) || p(z)) of
        Hoffman & Johnson, 2016 ("ELBO surgery"), and with it the KL: log N(m, S) / p is a quadratic, so
        ``KL(q || p) = KL(q || N(m, S)) + KL(N(m, S) || p)``. What it misses is the first term, the aggregate's shape.
        """
        covariance = self._covariance() + self._average("variance").diag()
        spread = covariance.trace() - len(covariance) - torch.linalg.slogdet(covariance).logabsdet
        return max(0.5 * (spread + self.mean.square().sum()).item(), 0.0)

    def by_channel(self) -> dict[str, Tensor]:
        """Return the figures of each channel by their names here, (latent_channels,) each."""
        return {
            "kl_nats": self.kl_nats,
            "bits_per_second": self.bits_per_second,
            "mean_variance": self.mean_variance,
            "active": self.active,
            "mean": self.mean,
            "std": self.std,
            "excess_kurtosis": self.excess_kurtosis,
        }

    def summary(self) -> dict[str, float]:
        """Return the figures of all channels together, by their names in `reports.LATENT_METRICS`."""
        return {
            "bits_per_second": self.bits_per_second.sum().item(),
            "active_units": float(self.active.sum()),
            "active_share": self.active.double().mean().item(),
            "effective_rank": self.effective_rank,
            "mismatch_nats": self.mismatch_nats,
            "mean_std": self.std.mean().item(),
        }

    def _average(self, name: str) -> Tensor:
        """Expectation over all frames."""
        if not self.frames:
            raise ValueError("there are no latents to describe; `add` at least one posterior first.")
        return self._sums[name] / self.frames

    def _covariance(self) -> Tensor:
        """Covariance of the posterior mean, (latent_channels, latent_channels)."""
        offset = self._average("offset")
        return self._average("offset²") - torch.outer(offset, offset)

    def _check(self, posterior: DiagonalGaussian) -> None:
        mean, std = posterior.mean, posterior.std
        if mean.ndim != 3 or mean.shape != std.shape or not mean.numel():
            raise ValueError(
                f"the posterior's `mean` is {tuple(mean.shape)} and its `std` {tuple(std.shape)}; give both as "
                f"(batch, latent_channels, frames) with at least one frame."
            )
        if self.frames and mean.shape[1] != len(self._shift):
            raise ValueError(
                f"the posterior has {mean.shape[1]} channels, those before it {len(self._shift)}; use one "
                f"`LatentStatistics` a model."
            )
        for name, values in (("mean", mean), ("std", std)):
            if not bool(values.isfinite().all()):
                raise ValueError(
                    f"the posterior's `{name}` holds NaN or infinite values; encode in float32, or go back to "
                    f"weights from before they diverged."
                )
        if not bool((std > 0).all()):
            raise ValueError(f"the posterior's `std` is {std.min().item():g} somewhere; it has to be positive.")


def collapse_warning(statistics: LatentStatistics, min_active_share: float) -> str | None:
    """Say in one line that too many channels carry nothing, and what to change; `None` if enough are active.

    Args:
        statistics (`LatentStatistics`): Of a validation set.
        min_active_share (`float`): Share of the channels, 0 to 1, under which there is a warning.

    Returns:
        The warning, without a line break, or `None`.

    Raises:
        ValueError: `min_active_share` is no share, or no posterior has been added.
    """
    if not 0 <= min_active_share <= 1:
        raise ValueError(f"`min_active_share` is {min_active_share}; give a share of the channels, from 0 to 1.")
    active = statistics.active
    count, channels = int(active.sum()), len(active)
    if count >= min_active_share * channels:
        return None
    return (
        f"the latents collapse: {count} of {channels} channels are active (their posterior mean has a variance of at "
        f"least {ACTIVE_VARIANCE} over the data), under the share of {min_active_share:g} that is wanted; if that "
        f"lasts, lower `weights.kl`, raise it slowly by a `schedule`, or grant every channel `free_bits`."
    )


def _by_channel(values: Tensor) -> Tensor:
    """(batch, latent_channels, frames) -> float64 (latent_channels, batch * frames)."""
    return values.detach().cpu().double().transpose(0, 1).flatten(1)  # `cpu` first: not every device has float64
