"""Change of the sampling rate by a windowed sinc: with gradients, on any device."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ZERO_CROSSINGS = 64  # of the sinc to each side
ROLLOFF = 0.97  # cutoff relative to half the lower rate
KAISER_BETA = 12.0  # 118 dB of attenuation


def sinc_resample(waveform: Tensor, orig_rate: int, new_rate: int) -> Tensor:
    """Change the sampling rate; the signal is zero beyond its ends.

    Args:
        waveform (`torch.Tensor` of shape `(batch, channels, time)`): Samples at `orig_rate`.
        orig_rate (`int`): Current rate in Hz.
        new_rate (`int`): Target rate in Hz.

    Returns:
        `torch.Tensor` of shape `(batch, channels, ceil(time * new_rate / orig_rate))`; sample n is at the time
        `n / new_rate`.

    Example:
        >>> sinc_resample(torch.zeros(2, 1, 24000), 24000, 16000).shape
        torch.Size([2, 1, 16000])
    """
    if orig_rate == new_rate:
        return waveform
    divisor = math.gcd(orig_rate, new_rate)
    step, phases = orig_rate // divisor, new_rate // divisor
    filters, reach = sinc_filters(step, phases)
    time = waveform.shape[-1]
    periods = math.ceil(time / step)
    padded = F.pad(waveform, (reach, reach + periods * step - time)).flatten(0, 1)[:, None]
    resampled = F.conv1d(padded, filters.to(waveform)[:, None], stride=step)[..., :periods]
    joined = resampled.mT.flatten(1)  # (batch * channels, phases, periods) -> (batch * channels, time)
    return joined[:, : math.ceil(time * phases / step)].unflatten(0, waveform.shape[:2])


def sinc_filters(step: int, phases: int) -> tuple[Tensor, int]:
    """Return a filter for each output of a period, (phases, width), and its reach to the left in samples."""
    cutoff = ROLLOFF * min(1.0, phases / step) / 2  # in cycles per sample of the input
    support = ZERO_CROSSINGS / (2 * cutoff)
    reach = math.ceil(support)
    offsets = torch.arange(-reach, reach + step, dtype=torch.float64)
    outputs = torch.arange(phases, dtype=torch.float64)[:, None] * step / phases
    distance = offsets - outputs
    inside = (1 - (distance / support).square()).clamp_min(0)
    window = torch.special.i0(KAISER_BETA * inside.sqrt()) / torch.special.i0(torch.tensor(KAISER_BETA).double())
    filters = 2 * cutoff * torch.sinc(2 * cutoff * distance) * window * (inside > 0)
    return filters / filters.sum(dim=1, keepdim=True), reach
