"""Mean, covariance and lag covariances of the latents of a data set."""

from collections.abc import Mapping

import torch
from torch import Tensor

DEFAULT_ORDER = 8  # lags; 0.17 s at 46.9 frames per second


class FrameMoments:
    """Streaming mean, full covariance and lag covariances of latents over a data set, in float64; mergeable.

    Moments are those of the aggregate posterior: the frames are Gaussians N(mean, std²), whose noise is independent of
    all other frames. The noise adds to the variances and to no other moment, so no sampling is needed. The sums are
    those of offsets from a frame of the data; neither a large mean nor many frames reduce the precision much.

    Covariances of lag k are sums over the pairs of frames of one item divided by the number of *all* frames. This
    estimate shrinks the covariances of long lags, and makes the sequence of covariances positive semidefinite, so that
    the Yule-Walker equations have a stationary solution (Lütkepohl, 2005, section 3.3.4).

    Args:
        order (`int`): Largest lag in frames, 0 or more.

    Example:
        >>> moments = FrameMoments(order=1)
        >>> moments.add(torch.tensor([[1.0, -1.0, 1.0, -1.0]]), torch.zeros(1, 4))
        >>> moments.mean.tolist(), moments.covariances.flatten().tolist()
        ([0.0], [1.0, -0.75])
    """

    def __init__(self, order: int = DEFAULT_ORDER) -> None:
        if order < 0:
            raise ValueError(f"`order` is {order}; give the largest lag in frames, 0 or more.")
        self.order, self.items = order, 0
        self._shift = torch.zeros(0, dtype=torch.float64)  # (latent_channels,)
        self._sums: dict[str, Tensor] = {}  # by name; each has a row per lag, except "noise"

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self._sums["pairs"][0]) if self._sums else 0

    def add(self, mean: Tensor, std: Tensor) -> None:
        """Add the posterior of one whole item.

        Args:
            mean (`torch.Tensor` of shape `(latent_channels, frames)`): Expected values.
            std (`torch.Tensor`, same shape): Standard deviations, 0 for latents without noise.

        Raises:
            ValueError: Wrong rank, another number of channels than before, no frames, or values that are not finite.
        """
        mean, std = mean.detach().cpu().double(), std.detach().cpu().double()
        if mean.ndim != 2 or mean.shape != std.shape or not mean.numel():
            raise ValueError(
                f"`mean` is {tuple(mean.shape)} and `std` {tuple(std.shape)}; give both as (latent_channels, frames)."
            )
        if not bool(mean.isfinite().all() and std.isfinite().all()):
            raise ValueError("the posterior has NaN or infinite values; leave this item out.")
        self._check_channels(len(mean))
        shift = self._shift if self._sums else mean[:, 0].clone()
        self._add(_sums_of(mean - shift[:, None], std, self.order), shift)
        self.items += 1

    def merge(self, other: "FrameMoments") -> None:
        """Add the moments of other items; `ValueError` if the orders or the numbers of channels differ."""
        if other.order != self.order:
            raise ValueError(f"the moments have orders {self.order} and {other.order}; measure both with one order.")
        if not other._sums:
            return
        self._check_channels(len(other._shift))
        shift = self._shift if self._sums else other._shift
        self._add(_shifted(other._sums, other._shift - shift), shift)
        self.items += other.items

    @property
    def mean(self) -> Tensor:
        """Mean of each channel, (latent_channels,)."""
        return self._shift + self._offset()

    @property
    def std(self) -> Tensor:
        """Standard deviation of each channel, (latent_channels,), dividing by the number of frames."""
        return self.covariances[0].diagonal().sqrt()

    @property
    def covariances(self) -> Tensor:
        """``E[(z_{t+k} - m) (z_t - m)ᵀ]`` for the lags k = 0 to `order`, (order + 1, channels, channels)."""
        offset = self._offset()
        centred = _shifted(self._sums, -offset)["products"] / self.frames
        centred[0] += (self._sums["noise"] / self.frames).diag()
        return centred

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return all sums, for `from_state_dict`."""
        return {"items": torch.tensor(self.items), "shift": self._shift, **self._sums}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> "FrameMoments":
        """Restore the moments from `state_dict`."""
        sums = dict(state)
        moments = cls(len(sums["pairs"]) - 1)
        moments.items, moments._shift = int(sums.pop("items")), sums.pop("shift")
        moments._sums = sums
        return moments

    def _offset(self) -> Tensor:
        if not self._sums:
            raise ValueError("there are no latents to describe; `add` at least one posterior first.")
        return self._sums["lead"][0] / self.frames

    def _check_channels(self, channels: int) -> None:
        if self._sums and channels != len(self._shift):
            raise ValueError(
                f"the posterior has {channels} channels, earlier posteriors have {len(self._shift)}; use one model."
            )

    def _add(self, sums: Mapping[str, Tensor], shift: Tensor) -> None:
        self._sums = {name: self._sums.get(name, 0) + value for name, value in sums.items()}
        self._shift = shift


def _sums_of(offset: Tensor, std: Tensor, order: int) -> dict[str, Tensor]:
    """Sums over the pairs (later frame, earlier frame) of each lag, and over the variances of the noise."""
    frames = offset.shape[1]
    pairs = [(offset[:, lag:], offset[:, : max(frames - lag, 0)]) for lag in range(order + 1)]
    return {
        "pairs": torch.tensor([float(later.shape[1]) for later, _ in pairs], dtype=torch.float64),  # (lags,)
        "lead": torch.stack([later.sum(dim=1) for later, _ in pairs]),  # (lags, channels)
        "trail": torch.stack([earlier.sum(dim=1) for _, earlier in pairs]),
        "products": torch.stack([later @ earlier.T for later, earlier in pairs]),  # (lags, channels, channels)
        "noise": std.square().sum(dim=1),
    }


def _shifted(sums: Mapping[str, Tensor], d: Tensor) -> dict[str, Tensor]:
    """Return the sums of offsets that are larger by `d`, (channels,)."""
    pairs, lead, trail = sums["pairs"], sums["lead"], sums["trail"]
    grown = pairs[:, None] * d
    products = sums["products"] + lead[:, :, None] * d + d[:, None] * trail[:, None] + grown[:, :, None] * d
    return {**sums, "lead": lead + grown, "trail": trail + grown, "products": products}
