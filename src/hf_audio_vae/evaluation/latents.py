"""Statistics of a VAE's latents: information per channel, collapsed channels, and distance from the prior."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from hf_audio_vae.modules.distributions import DiagonalGaussian

ACTIVE_VARIANCE = 0.01  # variance of the posterior mean over the data; threshold of Burda et al., 2016


class LatentStatistics:
    """Streaming, exact statistics of posteriors, for each latent channel.

    The aggregate posterior q(z) is the average over all frames of their Gaussians N(μ, σ²). All frames count
    equally, and dependence on neighbouring frames is ignored. Its moments are computed from μ and σ, without
    sampling. Variances divide by the number of frames.

    Args:
        frame_rate (`float`): Latent frames per second.

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
            raise ValueError(f"`frame_rate` is {frame_rate}; give the model's positive number of frames per second.")
        self.frame_rate = frame_rate
        self.frames = 0  # number of latent frames
        self._shift = torch.zeros(0, 1, dtype=torch.float64)  # (latent_channels, 1)
        self._sums: dict[str, Tensor] = {}

    def add(self, posterior: DiagonalGaussian) -> None:
        """Add the posterior of one batch. Statistics are computed in float64 on the CPU.

        Args:
            posterior (`DiagonalGaussian`): Posterior of latents of shape (batch, latent_channels, frames).

        Raises:
            ValueError: Wrong rank, no frames, another number of channels than before, NaN, infinity, or a `std` <= 0.
        """
        self._check(posterior)
        mean, std = _by_channel(posterior.mean), _by_channel(posterior.std)
        # Power sums of values far from zero lose precision, so the values are shifted by one frame of the data. With
        # any of the n frames as the shift, even the farthest outlier, the fourth moment loses at most n rounding
        # errors. A constant channel has offset 0.
        shift = self._shift if self.frames else mean[:, :1].clone()
        offset, variance = mean - shift, std.square()  # (latent_channels, batch * frames)
        sums = {
            "kl": DiagonalGaussian(mean, std).kl().sum(dim=1),  # infinite without noise
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

    def state_dict(self) -> dict[str, Tensor]:
        """Return all sums as tensors, for `add_state_dict`."""
        return {"frames": torch.tensor(self.frames), "shift": self._shift, **self._sums}

    def add_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Add the posteriors that other statistics of the same model have seen.

        Args:
            state (`Mapping`): From `state_dict`.
        """
        sums, frames = dict(state), int(state["frames"])
        shift = sums.pop("shift")
        del sums["frames"]
        if not frames:
            return
        if self.frames:
            sums = _shifted(sums, (shift - self._shift)[:, 0], frames)
        else:
            self._shift = shift
        self._sums = {name: self._sums.get(name, 0) + value for name, value in sums.items()}
        self.frames += frames

    @property
    def has_information(self) -> bool:
        """Whether the KL is finite. It is not for latents without noise, which hold any amount of information."""
        return bool(self.kl_nats.isfinite().all())

    @property
    def order(self) -> Tensor:
        """Channels by falling KL, or without noise by falling variance, (latent_channels,)."""
        return (self.kl_nats if self.has_information else self.mean_variance).argsort(descending=True)

    @property
    def kl_nats(self) -> Tensor:
        """KL from the unit Gaussian in nats per frame, (latent_channels,)."""
        return self._average("kl")

    @property
    def bits_per_second(self) -> Tensor:
        """KL in bits per second, (latent_channels,): upper bound of the information about the data in each channel."""
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
        """Excess kurtosis of the aggregate posterior, (latent_channels,).

        0 for a Gaussian, -2 for two points, above 0 for long tails, and 0 for a constant channel without noise.

        The fourth central moment is ``E[(μ - m)⁴ + 6 (μ - m)² σ² + 3 σ⁴]``.
        """
        m = self._average("offset")
        square = self._average("offset²").diagonal()
        fourth = self._average("offset⁴") - 4 * m * self._average("offset³") + 6 * m**2 * square - 3 * m**4
        mixed = self._average("variance offset²") - 2 * m * self._average("variance offset")
        mixed = mixed + m**2 * self._average("variance")  # E[(μ - m)² σ²]
        kurtosis = (fourth + 6 * mixed + 3 * self._average("variance²")) / self.std**4 - 3
        return kurtosis.where(self.std > 0, 0)

    @property
    def eigenvalues(self) -> Tensor:
        """Variances of the posterior mean along its principal axes, (latent_channels,), largest first."""
        return torch.linalg.eigvalsh(self._covariance()).flip(0).clamp_min(0)

    @property
    def effective_rank(self) -> float:
        """Effective rank (Roy & Vetterli, 2007) of the posterior mean's covariance.

        The exponential of the entropy of the normalized `eigenvalues`; 0.0 if the posterior mean is constant.
        """
        eigenvalues = self.eigenvalues
        total = eigenvalues.sum()
        return torch.special.entr(eigenvalues / total).sum().exp().item() if total > 0 else 0.0

    @property
    def mismatch_nats(self) -> float:
        """KL(N(m, S) || p) in nats per frame, for mean m and full covariance S of the aggregate posterior, prior p.

        ``0.5 (tr S + |m|² - latent_channels - log det S)``. It is a lower bound of the marginal KL(q(z) || p(z)) of
        Hoffman & Johnson, 2016 ("ELBO surgery"), and so of the KL. As log N(m, S) / p is quadratic,
        ``KL(q || p) = KL(q || N(m, S)) + KL(N(m, S) || p)``. The bound omits the first term, the aggregate's
        deviation from a Gaussian.
        """
        covariance = self._covariance() + self._average("variance").diag()
        spread = covariance.trace() - len(covariance) - torch.linalg.slogdet(covariance).logabsdet
        return max(0.5 * (spread + self.mean.square().sum()).item(), 0.0)

    def by_channel(self) -> dict[str, Tensor]:
        """Return the per-channel statistics by property name, (latent_channels,) each; no KL if it is infinite."""
        information = {"kl_nats": self.kl_nats, "bits_per_second": self.bits_per_second}
        return {
            **(information if self.has_information else {}),
            "mean_variance": self.mean_variance,
            "active": self.active,
            "mean": self.mean,
            "std": self.std,
            "excess_kurtosis": self.excess_kurtosis,
        }

    def summary(self) -> dict[str, float]:
        """Return the statistics over all channels, with the keys of `reports.LATENT_METRICS`.

        Latents without noise have no `bits_per_second`, and no `mismatch_nats` if they do not fill their space.
        """
        values = {
            "bits_per_second": self.bits_per_second.sum().item(),
            "active_units": float(self.active.sum()),
            "active_share": self.active.double().mean().item(),
            "effective_rank": self.effective_rank,
            "mismatch_nats": self.mismatch_nats,
            "mean_std": self.std.mean().item(),
        }
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _average(self, name: str) -> Tensor:
        """Mean over all frames."""
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
                f"the posterior has {mean.shape[1]} channels, earlier posteriors have {len(self._shift)}; use one "
                f"`LatentStatistics` per model."
            )
        for name, values in (("mean", mean), ("std", std)):
            if not bool(values.isfinite().all()):
                raise ValueError(
                    f"the posterior's `{name}` holds NaN or infinite values; encode in float32, or use "
                    f"weights from before training diverged."
                )
        if posterior.has_density and not bool((std > 0).all()):
            raise ValueError(f"the posterior's `std` is {std.min().item():g} somewhere; it must be positive.")


def collapse_warning(statistics: LatentStatistics, min_active_share: float, weight: str = "weights.kl") -> str | None:
    """Return a one-line warning, with the remedy, if too few channels are active, else `None`.

    Args:
        statistics (`LatentStatistics`): Statistics of a validation set.
        min_active_share (`float`): Warn if a smaller share of the channels is active, 0 to 1.
        weight (`str`): Option of the recipe for the weight of the KL.

    Returns:
        The warning, without a line break, or `None`.

    Raises:
        ValueError: `min_active_share` is not in 0 to 1, or no posterior has been added.
    """
    if not 0 <= min_active_share <= 1:
        raise ValueError(f"`min_active_share` is {min_active_share}; give a share of the channels, from 0 to 1.")
    active = statistics.active
    count, channels = int(active.sum()), len(active)
    if count >= min_active_share * channels:
        return None
    return (
        f"the latents collapse: {count} of {channels} channels are active (their posterior mean has a variance of at "
        f"least {ACTIVE_VARIANCE} over the data), less than the required share of {min_active_share:g}; if this "
        f"persists, lower the weight of the KL (`{weight}` of the recipe), increase it slowly with a `schedule`, or "
        f"use `free_bits`."
    )


def _shifted(sums: Mapping[str, Tensor], d: Tensor, frames: int) -> dict[str, Tensor]:
    """Return the power sums of offsets that are larger by `d`, (latent_channels,)."""
    first, second, third = sums["offset"], sums["offset²"], sums["offset³"]
    squares, variance, mixed = second.diagonal(), sums["variance"], sums["variance offset"]
    return {
        **sums,
        "offset": first + frames * d,
        "offset²": second + torch.outer(d, first) + torch.outer(first, d) + frames * torch.outer(d, d),
        "offset³": third + 3 * d * squares + 3 * d**2 * first + frames * d**3,
        "offset⁴": sums["offset⁴"] + 4 * d * third + 6 * d**2 * squares + 4 * d**3 * first + frames * d**4,
        "variance offset": mixed + d * variance,
        "variance offset²": sums["variance offset²"] + 2 * d * mixed + d**2 * variance,
    }


def _by_channel(values: Tensor) -> Tensor:
    """(batch, latent_channels, frames) -> float64 (latent_channels, batch * frames)."""
    return values.detach().cpu().double().transpose(0, 1).flatten(1)  # `cpu` first: not every device has float64
