import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import resample
from hf_audio_vae.audio.sinc_resampling import sinc_resample

RATES = [(24000, 16000), (16000, 24000), (44100, 16000), (48000, 24000)]


def tone(hz: float, sampling_rate: int) -> Tensor:
    return torch.sin(2 * math.pi * hz * torch.arange(sampling_rate, dtype=torch.float64) / sampling_rate)[None, None]


def inside(waveform: Tensor) -> Tensor:
    edge = waveform.shape[-1] // 10
    return waveform[..., edge:-edge]


@pytest.mark.parametrize("rates", RATES)
def test_a_tone_keeps_its_phase_and_loudness(rates: tuple[int, int]) -> None:
    for hz in (0.0, 100.0, 3000.0, 0.43 * min(rates)):
        error = sinc_resample(tone(hz, rates[0]) + 0.1, *rates) - tone(hz, rates[1]) - 0.1
        assert float(inside(error).abs().max()) < 3e-6


@pytest.mark.parametrize("rates", [rates for rates in RATES if rates[0] > rates[1]])
def test_a_tone_above_the_lower_rate_vanishes(rates: tuple[int, int]) -> None:
    resampled = sinc_resample(tone(0.54 * rates[1], rates[0]), *rates)
    assert float(inside(resampled).abs().max()) < 3e-6


@pytest.mark.parametrize("time", [1, 2, 3, 479, 480, 481])
def test_lengths_are_rounded_up(time: int) -> None:
    x = torch.randn(2, 3, time, generator=torch.Generator().manual_seed(0))
    resampled = sinc_resample(x, 24000, 16000)
    assert resampled.shape == (2, 3, math.ceil(time * 2 / 3))
    torch.testing.assert_close(resampled[1:, 2:], sinc_resample(x[1:, 2:], 24000, 16000))


def test_it_agrees_with_the_other_resampling() -> None:
    low = sinc_resample(torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0)), 8000, 24000)
    difference = sinc_resample(low, 24000, 16000)[0] - resample(low[0], 24000, 16000)
    assert float(inside(difference).abs().max()) < 1e-5


def test_a_gradient_reaches_the_input() -> None:
    x = torch.zeros(1, 1, 30, requires_grad=True)
    sinc_resample(x, 24000, 16000).sum().backward()
    assert x.grad is not None and bool((x.grad.abs() > 0.1).all())
