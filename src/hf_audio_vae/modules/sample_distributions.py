"""Distributions of a sample in [-1, 1], whose parameters an autoregressive network predicts.

All take parameters of shape (batch, audio_channels * num_parameters, time), with the parameters of a channel adjacent.
They draw a sample from two uniform numbers, so equal numbers give equal samples, one by one or all at once.
"""

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

HALF_BIN = 2.0**-16  # half a quantization step of 16-bit samples
FIRST_LOG_SCALES = (-3.0, -7.0)  # of the components of a new network
MIN_LOG_SCALE = -9.0  # of a logistic: a scale of four steps of 16 bits


class SampleDistribution(ABC):
    """A distribution of single samples.

    Args:
        num_components (`int`): Classes or mixture components, 2 or more.
    """

    num_parameters: int

    def __init__(self, num_components: int) -> None:
        self.num_components = num_components

    def write_first_guess(self, bias: Tensor) -> bool:
        """Write the parameters of a network without training; return False if random ones do.

        Args:
            bias (`torch.Tensor` of shape `(audio_channels * num_parameters,)`): Is overwritten.
        """
        return False

    def gains(self, like: Tensor) -> Tensor:
        """Return the factor of a network's outputs that makes each parameter of them, (num_parameters,)."""
        return like.new_ones(self.num_parameters)

    @abstractmethod
    def network_input(self, x: Tensor) -> Tensor:
        """Return the function of past samples that the network reads, in [-1, 1]; same shape."""

    @abstractmethod
    def nll(self, parameters: Tensor, x: Tensor, past: Tensor) -> Tensor:
        """Return the negative log-likelihood of samples in nats, (batch, audio_channels, time) float32.

        Args:
            parameters (`torch.Tensor` of shape `(batch, audio_channels * num_parameters, time)`): Predictions.
            x (`torch.Tensor` of shape `(batch, audio_channels, time)`): Samples; those outside [-1, 1] are clamped.
            past (`torch.Tensor` of shape `(batch, audio_channels, time)`): Input of the network at each sample: the
                `network_input` of the sample before it.
        """

    @abstractmethod
    def draw(self, parameters: Tensor, noise: Tensor, temperature: float, past: Tensor) -> Tensor:
        """Return samples, (batch, audio_channels).

        Args:
            parameters (`torch.Tensor` of shape `(batch, audio_channels * num_parameters)`): Predictions.
            noise (`torch.Tensor` of shape `(batch, audio_channels, 2)`): Uniform numbers in [0, 1).
            temperature (`float`): Factor of the spread; 0 returns the most probable component's value.
            past (`torch.Tensor` of shape `(batch, audio_channels)`): Input of the network at the samples.
        """

    def split(self, parameters: Tensor, channels: int) -> Tensor:
        """(batch, channels * num_parameters, ...) -> (batch, channels, num_parameters, ...)."""
        return parameters.unflatten(1, (channels, self.num_parameters))


class MuLawCategorical(SampleDistribution):
    """Classes of equal width on the mu-law scale, with `mu = num_components - 1` (van den Oord et al., 2016).

    arXiv:1609.03499. A sample is drawn as the middle of its class.
    """

    def __init__(self, num_components: int) -> None:
        super().__init__(num_components)
        self.num_parameters = num_components

    def network_input(self, x: Tensor) -> Tensor:
        mu = self.num_components - 1
        return x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu)

    def classes(self, x: Tensor) -> Tensor:
        """Return the class of each sample, int64."""
        scaled = (self.network_input(x.float().clamp(-1, 1)) + 1) / 2 * (self.num_components - 1)
        return scaled.round().long()

    def values(self, classes: Tensor) -> Tensor:
        """Return the sample in the middle of each class, float64."""
        mu = self.num_components - 1
        companded = 2 * classes.double() / mu - 1
        return companded.sign() * torch.expm1(companded.abs() * math.log1p(mu)) / mu

    def nll(self, parameters: Tensor, x: Tensor, past: Tensor) -> Tensor:
        logits = self.split(parameters, x.shape[1]).transpose(1, 2).float()  # (batch, classes, channels, time)
        return F.cross_entropy(logits, self.classes(x), reduction="none")

    def draw(self, parameters: Tensor, noise: Tensor, temperature: float, past: Tensor) -> Tensor:
        logits = self.split(parameters, noise.shape[1])
        return self.values(choose(logits, noise[..., 0], temperature)).to(parameters.dtype) + _not_finite(logits)


class LogisticMixture(SampleDistribution):
    """A mixture of logistic distributions on 16-bit samples (Salimans et al., 2017; van den Oord et al., 2018).

    arXiv:1701.05517, arXiv:1711.10433. The parameters are all logits of the components, then all means, then all
    logarithms of scales. Means are relative to the sample before: a network without training then predicts the last
    sample, and does not have to learn that first.
    """

    def __init__(self, num_components: int) -> None:
        super().__init__(num_components)
        self.num_parameters = 3 * num_components

    def write_first_guess(self, bias: Tensor) -> bool:
        """As `SampleDistribution`: the last sample, with scales from loud to quiet."""
        parameters = bias.unflatten(0, (-1, 3, self.num_components))
        parameters[:, :2] = 0
        parameters[:, 2] = torch.linspace(*FIRST_LOG_SCALES, self.num_components, device=bias.device)
        return True

    def gains(self, like: Tensor) -> Tensor:
        """As `SampleDistribution`: a network predicts a mean in units of the first scale of its component.

        The gradient of a mean is up to 1 / scale, 1000 times that of the other parameters. In layers that predict all,
        it would leave no trace of theirs.
        """
        gains = like.new_ones(3, self.num_components)
        gains[1] = torch.linspace(*FIRST_LOG_SCALES, self.num_components).exp()
        return gains.flatten()

    def network_input(self, x: Tensor) -> Tensor:
        return x

    def nll(self, parameters: Tensor, x: Tensor, past: Tensor) -> Tensor:
        logits, changes, log_scales = self.split(parameters, x.shape[1]).float().chunk(3, dim=2)
        means = changes + past.float()[:, :, None]
        x = x.float().clamp(-1, 1)[:, :, None]  # (batch, channels, 1, time)
        inverse_scales = torch.exp(-log_scales.clamp(min=MIN_LOG_SCALE))
        upper, lower = ((x - means + half) * inverse_scales for half in (HALF_BIN, -HALF_BIN))
        # log(sigmoid(upper) - sigmoid(lower)); the first and the last bin extend to infinity.
        width = (2 * HALF_BIN) * inverse_scales
        inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-width))
        first, last = F.logsigmoid(upper), F.logsigmoid(-lower)
        log_probability = torch.where(x <= HALF_BIN - 1, first, torch.where(x >= 1 - HALF_BIN, last, inside))
        return -torch.logsumexp(logits.log_softmax(dim=2) + log_probability, dim=2)

    def draw(self, parameters: Tensor, noise: Tensor, temperature: float, past: Tensor) -> Tensor:
        logits, changes, log_scales = self.split(parameters, noise.shape[1]).chunk(3, dim=2)
        chosen = choose(logits, noise[..., 0], temperature)[..., None]
        change, log_scale = (values.gather(2, chosen)[..., 0] for values in (changes, log_scales))
        mean = change + past
        if temperature:
            uniform = noise[..., 1].clamp(1e-5, 1 - 1e-5)
            mean = mean + temperature * log_scale.clamp(min=MIN_LOG_SCALE).exp() * uniform.logit()
        return mean.clamp(-1, 1).to(parameters.dtype) + _not_finite(logits)


DISTRIBUTIONS: dict[str, type[SampleDistribution]] = {
    "mu_law": MuLawCategorical,
    "logistic_mixture": LogisticMixture,
}


def choose(logits: Tensor, uniform: Tensor, temperature: float) -> Tensor:
    """Draw a class by the inverse of its cumulative distribution.

    Args:
        logits (`torch.Tensor` of shape `(batch, channels, classes)`): Logits.
        uniform (`torch.Tensor` of shape `(batch, channels)`): Numbers in [0, 1).
        temperature (`float`): Divisor of the logits; 0 takes the largest.

    Returns:
        `torch.Tensor` of shape `(batch, channels)`: Int64.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    wide = torch.promote_types(logits.dtype, torch.float32)
    weights = ((logits - logits.amax(dim=-1, keepdim=True)).to(wide) / temperature).exp()
    cumulative = weights.cumsum(dim=-1)
    below = cumulative <= uniform[..., None].to(wide) * cumulative[..., -1:]
    return below.sum(dim=-1).clamp(max=logits.shape[-1] - 1)


def _not_finite(logits: Tensor) -> Tensor:
    """Return NaN where logits are NaN or infinite, which a comparison hides, and 0 elsewhere; (batch, channels)."""
    return 0 * logits.sum(dim=-1)
