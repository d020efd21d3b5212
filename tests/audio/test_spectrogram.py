import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio.spectrogram import (
    MIN_POWER,
    a_weighting,
    bin_frequencies,
    log_spectrogram,
    magnitude,
    mel_filters,
    stft,
)
from tests.spectra import slaney_mel_filters, slow_magnitudes

# IEC 61672-1:2013, table 3: nominal frequency in Hz and the A curve in dB, rounded to 0.1 dB.
A_CURVE = {
    10: -70.4, 12.5: -63.4, 16: -56.7, 20: -50.5, 25: -44.7, 31.5: -39.4, 40: -34.6, 50: -30.2, 63: -26.2, 80: -22.5,
    100: -19.1, 125: -16.1, 160: -13.4, 200: -10.9, 250: -8.6, 315: -6.6, 400: -4.8, 500: -3.2, 630: -1.9, 800: -0.8,
    1000: 0.0, 1250: 0.6, 1600: 1.0, 2000: 1.2, 2500: 1.3, 3150: 1.2, 4000: 1.0, 5000: 0.5, 6300: -0.1, 8000: -1.1,
    10000: -2.5, 12500: -4.3, 16000: -6.6, 20000: -9.3,
}  # fmt: skip


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def sine(cycles: float, time: int) -> Tensor:
    return torch.sin(2 * math.pi * cycles * torch.arange(time, dtype=torch.float64) / time).float()


@pytest.mark.parametrize("n_fft", [8, 32, 64])
@pytest.mark.parametrize("time", [1, 5, 31, 100])
def test_stft_equals_the_sum_over_samples(n_fft, time):
    waveform = noise(2, 3, time)
    spectrum = stft(waveform, torch.hann_window(n_fft), n_fft // 4)
    reference = torch.from_numpy(slow_magnitudes(waveform.numpy(), n_fft, n_fft // 4))
    # A sum of n_fft products: n_fft roundings of numbers up to 1.
    torch.testing.assert_close(spectrum.abs().double(), reference, rtol=0, atol=n_fft * 2**-24)


@pytest.mark.parametrize("time", [1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1000])
def test_stft_takes_any_length(time):
    spectrum = stft(noise(2, time), torch.hann_window(32), 8)
    assert spectrum.shape == (2, 17, 1 + max(time, 32) // 8)
    assert spectrum.isfinite().all()


def test_stft_keeps_energy():
    # Squared Hann windows a quarter apart sum to 3/2 (Parseval, frame by frame), where every sample is in four frames.
    waveform = torch.zeros(1000)
    waveform[200:800] = noise(600)
    power = stft(waveform, torch.hann_window(64), 16).abs().square()
    one_sided = power[0] + 2 * power[1:-1].sum(dim=0) + power[-1]
    torch.testing.assert_close(one_sided.sum() / 64, 1.5 * waveform.square().sum())


@pytest.mark.parametrize("index", [3, 10, 50])
def test_a_tone_lands_in_its_bin(index):
    n_fft, sampling_rate = 128, 16000
    frequency_hz = bin_frequencies(n_fft, sampling_rate)[index].item()
    waveform = torch.sin(2 * math.pi * frequency_hz * torch.arange(1600) / sampling_rate)
    level = stft(waveform, torch.hann_window(n_fft), 32).abs()[:, 10:40]
    assert (level.argmax(dim=0) == index).all()
    # A Hann window sums to n_fft / 2, half of it for each sign of the frequency, half of that in the next bins.
    torch.testing.assert_close(level[index], torch.full((30,), n_fft / 4), rtol=1e-4, atol=0)
    torch.testing.assert_close(level[index + 1], torch.full((30,), n_fft / 8), rtol=1e-4, atol=0)


def test_bins_reach_from_zero_to_half_the_rate():
    frequencies = bin_frequencies(1024, 44100)
    assert frequencies[0] == 0
    assert frequencies[-1] == 22050
    torch.testing.assert_close(frequencies.diff(), torch.full((512,), 44100 / 1024), rtol=1e-4, atol=0)


def test_magnitude_is_the_absolute_value_above_the_floor():
    spectrum = torch.complex(noise(100), noise(100).flip(0))
    torch.testing.assert_close(magnitude(spectrum), spectrum.abs())
    assert magnitude(torch.zeros(1, dtype=torch.complex64)).item() == pytest.approx(math.sqrt(MIN_POWER))


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-6, 1.0])
def test_magnitudes_of_silence_have_finite_gradients(level):
    waveform = (level * noise(200)).requires_grad_()
    magnitude(stft(waveform, torch.hann_window(32), 8)).log().sum().backward()
    assert waveform.grad.isfinite().all()


def test_magnitudes_of_silence_have_no_gradient():
    waveform = torch.zeros(200, requires_grad=True)
    magnitude(stft(waveform, torch.hann_window(32), 8)).sum().backward()
    assert not waveform.grad.any()


@pytest.mark.parametrize(
    ("n_mels", "n_fft", "sampling_rate"), [(5, 32, 44100), (80, 512, 44100), (150, 2048, 44100), (64, 1024, 16000)]
)
def test_mel_filters_are_slaneys(n_mels, n_fft, sampling_rate):
    filters = mel_filters(n_mels, n_fft, sampling_rate)
    reference = torch.from_numpy(slaney_mel_filters(n_mels, n_fft, sampling_rate)).float()
    assert filters.shape == (n_mels, n_fft // 2 + 1)
    torch.testing.assert_close(filters, reference, rtol=1e-5, atol=1e-6 * reference.max().item())


def test_wide_mel_filters_have_equal_areas():
    filters = mel_filters(20, 2048, 16000)
    torch.testing.assert_close(filters.sum(dim=1) * 16000 / 2048, torch.ones(20), rtol=0.02, atol=0)


def test_mel_filters_narrower_than_a_bin_are_built_without_a_warning(recwarn):
    assert (mel_filters(80, 128, 44100).sum(dim=1) == 0).any()
    assert not recwarn.list


@pytest.mark.parametrize(("nominal_hz", "decibels"), A_CURVE.items())
def test_a_weighting_is_the_standards_curve(nominal_hz, decibels):
    # The table belongs to the exact frequencies behind the nominal ones, tenths of a decade: 31.5 means 31.62.
    exact_hz = 10 ** (round(10 * math.log10(nominal_hz)) / 10)
    gain_db = 20 * a_weighting(torch.tensor([exact_hz])).log10().item()
    assert gain_db == pytest.approx(decibels, abs=0.051)  # the rounding of the table, and of float32


def test_a_weighting_mutes_zero_frequency():
    assert a_weighting(torch.tensor([0.0])).item() == 0


@pytest.mark.parametrize("n_fft", [256, 1024])
def test_a_full_scale_sine_is_at_zero_decibels(n_fft):
    level = log_spectrogram(sine(16 * 100, 100 * n_fft), n_fft)[:, 8:-8]
    torch.testing.assert_close(level.max(dim=0).values, torch.zeros(level.shape[1]), rtol=0, atol=1e-3)
    assert (level.argmax(dim=0) == 16).all()


def test_halving_the_level_takes_six_decibels():
    waveform = noise(4000)
    level = log_spectrogram(waveform, 256)
    difference = (level - log_spectrogram(waveform / 2, 256))[level > -70]  # the floor of -80 would take less
    torch.testing.assert_close(difference, torch.full_like(difference, 20 * math.log10(2)), rtol=0, atol=1e-3)


def test_silence_is_at_the_floor():
    assert np.allclose(log_spectrogram(torch.zeros(2, 3000)).numpy(), -80, atol=1e-3)
