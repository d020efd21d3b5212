import math
from typing import TypedDict

import torch
from torch import Tensor


class MomentsState(TypedDict):
    """What a `ChannelMoments` keeps: frames, and by channel the mean and the sum of squared deviations from it."""

    frames: int
    mean: list[float]
    squares: list[float]


class ChannelMoments:
    """Mean and standard deviation of each latent channel over a data set, streamed, merged, exact.

    Counts frames of the aggregate posterior, the mixture of all frames' Gaussians N(mean, std²): its variance is that
    of the means plus the mean of the variances, so nothing is sampled. Kept as count, mean and sum of squared
    deviations in float64 and combined by the parallel update of Chan, Golub & LeVeque (1983), Welford's for two sets:
    neither a large mean nor the number of frames costs precision, and parts that were measured apart can be merged.

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
        """Take in a posterior, `mean` and `std` (latent_channels, frames); `ValueError` if it has other channels."""
        mean, std = mean.detach().cpu().double(), std.detach().cpu().double()
        center = mean.mean(dim=1)
        squares = (mean - center[:, None]).square().sum(dim=1) + std.square().sum(dim=1)
        self._merge(mean.shape[1], center, squares)

    def merge(self, other: "ChannelMoments") -> None:
        """Take in what another has seen; `ValueError` if it has other channels."""
        if other.frames:
            self._merge(other.frames, other.mean, other._squares)

    def state_dict(self) -> MomentsState:
        """Return all there is, fit for JSON, which keeps every bit of a float64."""
        return {"frames": self.frames, "mean": self.mean.tolist(), "squares": self._squares.tolist()}

    @classmethod
    def from_state_dict(cls, state: MomentsState) -> "ChannelMoments":
        """Return what `state_dict` was taken of."""
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
                f"the posterior has {len(mean)} channels, those before it {len(self.mean)}; use one model."
            )
        total = self.frames + frames
        delta = mean - self.mean
        self.mean = self.mean + delta * (frames / total)
        self._squares = self._squares + squares + delta.square() * (self.frames / total * frames)
        self.frames = total

    def distance(self, reference: "ChannelMoments") -> tuple[float, float]:
        """Compare with other data by channel, in units of their standard deviation.

        Returns:
            The largest distance of a mean, ``|mean - mean'| / std'``, and the largest of a standard deviation, as the
            factor it is off by, 1 if none: ``exp(|log(std / std')|)``.
        """
        means = (self.mean - reference.mean).abs() / reference.std
        factors = (self.std / reference.std).log().abs()
        return means.max().item(), math.exp(factors.max().item())
