"""Loudness against the calibration of BS.1770, and what cannot be measured."""

import math
import sys

import pytest
import torch
from torch import Tensor

from hf_audio_vae.evaluation.loudness import (
    integrated_loudness,
    loudness_error,
    loudness_range,
    loudness_range_error,
    true_peak,
    true_peak_error,
)
from tests.evaluation.test_metrics import sound

RATE = 48000


def sine(frequency: float, seconds: float, decibels: float = 0.0) -> Tensor:
    time = torch.arange(round(seconds * RATE)).double() / RATE
    return (10 ** (decibels / 20) * torch.sin(2 * torch.pi * frequency * time)).float()[None, None]


def test_a_sine_of_997_hz_has_the_loudness_of_the_standard() -> None:
    pytest.importorskip("pyloudnorm")
    mono = sine(997, 5)  # BS.1770: full scale in one channel reads -3.01 LKFS
    assert integrated_loudness(mono, RATE).item() == pytest.approx(-3.01, abs=0.1)
    assert integrated_loudness(0.1 * mono, RATE).item() == pytest.approx(-23.01, abs=0.1)
    assert integrated_loudness(mono.expand(1, 2, -1), RATE).item() == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("decibels", [-12.0, 3.0])
def test_the_loudness_error_of_a_gain_is_the_gain(decibels: float) -> None:
    pytest.importorskip("pyloudnorm")
    target, sampling_rate = sound("music_musicbox.ogg", seconds=8)
    estimate = 10 ** (decibels / 20) * target
    assert loudness_error(estimate, target, sampling_rate).item() == pytest.approx(abs(decibels), abs=0.02)
    assert loudness_range_error(estimate, target, sampling_rate).item() == pytest.approx(0, abs=0.02)
    assert true_peak_error(estimate, target, sampling_rate).item() == pytest.approx(abs(decibels), abs=1e-3)


def test_the_loudness_range_is_the_step_between_two_levels() -> None:
    pytest.importorskip("pyloudnorm")
    # EBU Tech 3342, test 1: 20 s at -20 dBFS and 20 s at -30 dBFS have a range of 10 LU, within 1 LU.
    steps = torch.cat((sine(1000, 20, -20), sine(1000, 20, -30)), dim=-1).expand(1, 2, -1)
    assert loudness_range(steps, RATE).item() == pytest.approx(10, abs=1)


def test_short_and_silent_clips_have_no_loudness() -> None:
    pytest.importorskip("pyloudnorm")
    short, silent = sine(997, 0.39), torch.zeros(1, 1, 4 * RATE)
    for measure in (integrated_loudness, loudness_range):
        assert measure(short, RATE).isnan().item()
        assert measure(silent, RATE).isnan().item()
    assert integrated_loudness(sine(997, 0.4), RATE).isfinite().item()
    assert loudness_range(sine(997, 2.9), RATE).isnan().item()
    assert true_peak(silent, RATE).isnan().item()


def test_items_are_measured_one_by_one() -> None:
    pytest.importorskip("pyloudnorm")
    batch = torch.cat((sine(997, 1), torch.zeros(1, 1, RATE), sine(997, 1, -20)))
    values = integrated_loudness(batch, RATE)
    assert values.isnan().tolist() == [False, True, False]
    assert (values[0] - values[2]).item() == pytest.approx(20, abs=1e-6)


def test_true_peak_finds_the_peak_between_samples() -> None:
    time = torch.arange(RATE).double()
    # A quarter of the rate, sampled 45 degrees off its peaks: samples at -3.01 dBFS.
    between = torch.sin(math.pi / 2 * time + math.pi / 4) * torch.hann_window(RATE)
    assert 20 * math.log10(between.abs().max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak(between[None, None], RATE).item() == pytest.approx(0, abs=0.05)


def test_more_than_five_channels_are_refused() -> None:
    pytest.importorskip("pyloudnorm")
    with pytest.raises(ValueError, match="6 channels"):
        integrated_loudness(torch.zeros(1, 6, RATE), RATE)


def test_a_missing_package_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(ModuleNotFoundError, match=r"^loudness needs pyloudnorm; .*hf-audio-vae\[metrics\]'`.$"):
        integrated_loudness(sine(997, 1), RATE)
