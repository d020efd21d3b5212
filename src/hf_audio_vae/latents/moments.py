import math
from typing import TypedDict

import torch
from torch import Tensor


class MomentsState(TypedDict):
    """State of `ChannelMoments`: number of frames, and per channel the mean and the sum of squared deviations."""

    frames: int
    mean: list[float]
    squares: list[float]


class ChannelMoments:
    """Exact mean and standard deviation of each latent channel over a data set; streaming and mergeable.

    Moments are those of the aggregate posterior, the mixture of the Gaussians N(mean, std²) of all frames. Its
    variance is the variance of the means plus the mean of the variances, so no sampling is needed. The state is the
    count, the mean and the sum of squared deviations in float64, updated with the parallel algorithm of Chan, Golub &
    LeVeque (1983), which is Welford's for two sets. Neither a large mean nor many frames reduce the precision, and
    separate statistics can be merged.

    Example:
        >>> moments = ChannelMoments()
        >>> moments.add(torch.tensor([[1.0, 3.0], [5.0, 5.0]]), torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
        >>> moments.mean.tolist(), moments.std.tolist()
        ([2.0, 5.0], [1.0, 2.0])
    """

    def __init__(self) -> None:
        self.frames = 0
        self.mean = torch.zeros(0, dtype=torch.float64)  # (latent_channels,)
        self._squares = torch.zeros(0, dtype=torch.float64)  # sum of squared deviations from the mean

    @property
    def std(self) -> Tensor:
        """Standard deviation of each channel, (latent_channels,), dividing by the number of frames."""
        return (self._squares / self.frames).sqrt()

    def add(self, mean: Tensor, std: Tensor) -> None:
        """Add a posterior, `mean` and `std` (latent_channels, frames); `ValueError` if the channel count differs."""
        mean, std = mean.detach().cpu().double(), std.detach().cpu().double()
        center = mean.mean(dim=1)
        squares = (mean - center[:, None]).square().sum(dim=1) + std.square().sum(dim=1)
        self._merge(mean.shape[1], center, squares)

    def merge(self, other: "ChannelMoments") -> None:
        """Add the statistics of `other`; `ValueError` if the channel count differs."""
        if other.frames:
            self._merge(other.frames, other.mean, other._squares)

    def state_dict(self) -> MomentsState:
        """Return the state as JSON-serializable values. JSON preserves float64 exactly."""
        return {"frames": self.frames, "mean": self.mean.tolist(), "squares": self._squares.tolist()}

    @classmethod
    def from_state_dict(cls, state: MomentsState) -> "ChannelMoments":
        """Restore the statistics from `state_dict`."""
        moments = cls()
        moments.frames = state["frames"]
        moments.mean = torch.tensor(state["mean"], dtype=torch.float64)
        moments._squares = torch.tensor(state["squares"], dtype=torch.float64)
        return moments

    def _merge(self, frames: int, mean: Tensor, squares: Tensor) -> None:
        if not self.frames:
            self.frames, self.mean, self._squares = frames, mean.clone(), squares.clone()
            return
        if len(mean) != len(self.mean):
            raise ValueError(
                f"the posterior has {len(mean)} channels, earlier posteriors have {len(self.mean)}; use one model."
            )
        total = self.frames + frames
        delta = mean - self.mean
        self.mean = self.mean + delta * (frames / total)
        self._squares = self._squares + squares + delta.square() * (self.frames / total * frames)
        self.frames = total

    def distance(self, reference: "ChannelMoments") -> tuple[float, float]:
        """Compare with the statistics of other data, channel by channel.

        Returns:
            The largest distance of the means, ``|mean - mean'| / std'``, and the largest factor between the standard
            deviations, ``exp(|log(std / std')|)``, 1 if they are equal.
        """
        means = (self.mean - reference.mean).abs() / reference.std
        factors = (self.std / reference.std).log().abs()
        return means.max().item(), math.exp(factors.max().item())
