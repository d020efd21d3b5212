import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import read_audio
from hf_audio_vae.evaluation import (
    mel_spectrogram_distance,
    multi_resolution_stft_distance,
    reconstruction_metrics,
    si_sdr,
)
from hf_audio_vae.evaluation.metrics import bandwidth, mean_metrics, reconstruction_metrics_in_blocks
from tests.spectra import slaney_mel_filters, slow_mel_distances, slow_stft_distance

DATA = Path(__file__).parents[2] / "data/held_out"
SOUNDS = ["loop_breakbeat.flac", "speech_en_0890.flac", "flute_C5.ogg"]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def sound(name: str, seconds: float = 0.5) -> tuple[Tensor, int]:
    """The start of a real sound, (1, channels, time), and its rate in Hz."""
    waveform, sampling_rate = read_audio(DATA / name)
    return waveform[None, :, : round(seconds * sampling_rate)], sampling_rate


def coarser(waveform: Tensor, bits: int) -> Tensor:
    return (waveform * 2 ** (bits - 1)).round() / 2 ** (bits - 1)


def orthogonal_noise(target: Tensor) -> Tensor:
    """Noise without a mean and without a share of the target, of its energy, channel by channel."""
    target = target - target.mean(dim=-1, keepdim=True)
    error = noise(*target.shape, seed=1).double()
    error = error - error.mean(dim=-1, keepdim=True)
    error = error - target * (error * target).sum(-1, keepdim=True) / target.square().sum(-1, keepdim=True)
    return error * (target.square().sum(-1, keepdim=True) / error.square().sum(-1, keepdim=True)).sqrt()


@pytest.mark.parametrize("decibels", [-20.0, -3.0, 0.0, 6.7, 12.5, 60.0])
def test_si_sdr_of_orthogonal_noise_is_its_level(decibels):
    target = noise(2, 1, 4000).double()
    estimate = target + 10 ** (-decibels / 20) * orthogonal_noise(target)
    torch.testing.assert_close(si_sdr(estimate, target), torch.full((2,), decibels).double(), rtol=0, atol=1e-3)


def test_si_sdr_equals_the_slow_formula():
    estimate, target = noise(3, 2, 500), noise(3, 2, 500, seed=1)
    for value, items in zip(si_sdr(estimate, target), zip(estimate, target, strict=True), strict=True):
        decibels = []
        for guess, truth in zip(*(item.double().numpy() for item in items), strict=True):
            guess, truth = guess - guess.mean(), truth - truth.mean()
            projection = guess @ truth / (truth @ truth) * truth
            decibels.append(10 * np.log10((projection**2).sum() / ((guess - projection) ** 2).sum()))
        # Unrelated signals: what projects is small, and float32 rounds it by 1e-7 of the rest.
        assert value.item() == pytest.approx(np.mean(decibels), abs=1e-2)


@pytest.mark.parametrize("scale", [-2.0, 0.01, 0.5, 30.0])
def test_si_sdr_ignores_the_estimates_scale(scale):
    target = noise(2, 2, 4000).double()
    estimate = target + 0.3 * orthogonal_noise(target)
    torch.testing.assert_close(si_sdr(scale * estimate, target), si_sdr(estimate, target), rtol=0, atol=1e-3)


def test_si_sdr_ignores_offsets():
    target = noise(2, 2, 4000).double()
    estimate = target + 0.3 * orthogonal_noise(target)
    torch.testing.assert_close(si_sdr(estimate + 0.5, target - 0.25), si_sdr(estimate, target))


def test_si_sdr_averages_the_decibels_of_channels():
    target = noise(1, 2, 4000).double()
    estimate = target + torch.tensor([0.1, 0.01])[:, None] * orthogonal_noise(target)  # 20 and 40 dB
    assert si_sdr(estimate, target).item() == pytest.approx(30, abs=1e-3)


@pytest.mark.parametrize("time", [1, 4000])
def test_every_metric_is_finite_on_extremes(time):
    signals = [
        torch.zeros(2, time),
        noise(2, time),
        torch.ones(2, time),
        noise(2, time).sign(),
        1e-30 * noise(2, time),
        1e3 * noise(2, time),
        1e10 * noise(2, time),
    ]
    pairs = [(estimate, target) for estimate in signals for target in signals]
    estimate, target = (torch.stack(items) for items in zip(*pairs, strict=True))
    for name, values in reconstruction_metrics(estimate, target, 16000).items():
        assert values.shape == (len(pairs),), name
        assert values.isfinite().all(), name
    assert bandwidth(estimate, 16000).isfinite().all()


def test_a_perfect_reconstruction_has_no_distance_and_the_best_ratio():
    target, sampling_rate = sound("loop_breakbeat.flac")
    metrics = reconstruction_metrics(target, target, sampling_rate)
    assert metrics["multi_resolution_stft"].item() == 0
    assert metrics["mel_distance"].item() == 0
    assert metrics["si_sdr_db"].item() > 90


@pytest.mark.parametrize("name", SOUNDS)
def test_more_noise_on_real_sound_is_worse_by_every_metric(name):
    target, sampling_rate = sound(name)
    error = noise(*target.shape)
    estimates = torch.cat([target + level * error for level in (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)])
    metrics = reconstruction_metrics(estimates, target.expand_as(estimates), sampling_rate)
    assert (metrics["si_sdr_db"].diff() < 0).all()
    assert (metrics["multi_resolution_stft"].diff() > 0).all()
    assert (metrics["mel_distance"].diff() > 0).all()


@pytest.mark.parametrize("name", SOUNDS)
def test_fewer_bits_of_real_sound_are_worse_by_every_metric(name):
    target, sampling_rate = sound(name)
    estimates = torch.cat([coarser(target, bits) for bits in (14, 12, 10, 8, 6)])
    metrics = reconstruction_metrics(estimates, target.expand_as(estimates), sampling_rate)
    assert (metrics["si_sdr_db"].diff() < 0).all()
    assert (metrics["multi_resolution_stft"].diff() > 0).all()
    assert (metrics["mel_distance"].diff() > 0).all()


@pytest.mark.parametrize("name", SOUNDS)
def test_the_stft_distance_equals_the_slow_formula(name):
    target, _ = sound(name, seconds=0.1)
    estimate = coarser(target, 8)
    reference = np.mean(
        [
            slow_stft_distance(estimate.numpy(), target.numpy(), length)
            for length in (2048, 1024, 512, 256, 128, 64, 32)
        ]
    )
    assert multi_resolution_stft_distance(estimate, target).item() == pytest.approx(reference, rel=1e-4)


def dac_mel_distance(estimate: Tensor, target: Tensor, sampling_rate: int) -> float:
    """`dac.nn.loss.MelSpectrogramLoss()` with its defaults: mels 150, 80; windows 2048, 512; pow 2; both weights 1."""
    total = 0.0
    for length, n_mels in ((2048, 150), (512, 80)):
        filters = slaney_mel_filters(n_mels, length, sampling_rate)
        total += sum(
            d.mean() for d in slow_mel_distances(estimate.numpy(), target.numpy(), length, filters, power=2.0)
        )
    return total


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("level", [1.0, 1e-2])
def test_the_mel_distance_is_dacs(name, level):
    target, sampling_rate = sound(name, seconds=0.1)
    estimate, target = level * coarser(target, 8), level * target
    value = mel_spectrogram_distance(estimate, target, sampling_rate).item()
    assert value == pytest.approx(dac_mel_distance(estimate, target, sampling_rate), rel=1e-3)


@pytest.mark.parametrize("sampling_rate", [8000, 16000, 44100])
def test_the_mel_distance_from_silence_is_dacs(sampling_rate):
    target = 0.1 * noise(1, 1, 3000)
    silence = torch.zeros_like(target)
    value = mel_spectrogram_distance(silence, target, sampling_rate).item()
    assert value == pytest.approx(dac_mel_distance(silence, target, sampling_rate), rel=1e-3)


def test_no_value_depends_on_the_other_items():
    estimate, target = noise(4, 2, 3000), noise(4, 2, 3000, seed=1)
    estimate[0], target[1], estimate[2] = 0, 0, 1000 * estimate[2]
    together = reconstruction_metrics(estimate, target, 44100)
    for i in range(4):
        alone = reconstruction_metrics(estimate[i : i + 1], target[i : i + 1], 44100)
        for name, values in together.items():
            # The ratio of unrelated signals hangs on a small sum, which float32 rounds by its order.
            torch.testing.assert_close(values[i : i + 1], alone[name], rtol=1e-5, atol=1e-2 * ("db" in name) + 1e-6)


def test_an_inverted_reconstruction_is_told_by_no_metric():
    # Three metrics of shape and level; absolute polarity is none of them.
    target, sampling_rate = sound("loop_breakbeat.flac")
    estimate = coarser(target, 8)
    upright, inverted = (reconstruction_metrics(sign * estimate, target, sampling_rate) for sign in (1, -1))
    for name, value in upright.items():
        torch.testing.assert_close(inverted[name], value, rtol=1e-4, atol=0, msg=name)


def test_half_precision_is_measured_in_float32():
    target, sampling_rate = sound("loop_breakbeat.flac", seconds=0.2)
    half = reconstruction_metrics(target.bfloat16(), target, sampling_rate)
    single = reconstruction_metrics(target.bfloat16().float(), target, sampling_rate)
    for name, value in half.items():
        assert torch.equal(value, single[name])
        assert value.dtype == torch.float32


def test_eight_bits_leave_the_ratio_that_theory_gives():
    # Uniform rounding leaves step^2 / 12 for a sound that fills many steps.
    target = noise(1, 1, 100_000)
    expected = 10 * math.log10((1 / 3) / ((2 / 2**8) ** 2 / 12))
    assert si_sdr(coarser(target, 8), target).item() == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("time", [1, 40, 1500, 4095, 131_072, 135_167, 135_168, 300_007])
def test_metrics_in_blocks_are_those_of_the_whole(channels: int, time: int) -> None:
    generator = torch.Generator().manual_seed(time)
    target = torch.randn(channels, time, generator=generator).cumsum(dim=-1) * 0.01
    estimate = 0.9 * target + 0.02 * torch.randn(channels, time, generator=generator) + 0.1
    whole = reconstruction_metrics(estimate[None], target[None], 16000)
    blocks = reconstruction_metrics_in_blocks(
        lambda start, stop: estimate[:, start:stop], lambda start, stop: target[:, start:stop], time, 16000
    )
    assert blocks == pytest.approx({name: value.item() for name, value in whole.items()}, rel=2e-4, abs=2e-3)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0])
def test_metrics_in_blocks_are_finite_for_silence_and_for_equal_sounds(scale: float) -> None:
    x = scale * torch.randn(1, 200_000, generator=torch.Generator().manual_seed(0))
    values = reconstruction_metrics_in_blocks(lambda a, b: x[:, a:b], lambda a, b: x[:, a:b], 200_000, 16000)
    assert all(math.isfinite(value) for value in values.values())
    assert values["multi_resolution_stft"] == values["mel_distance"] == 0


def test_means_weigh_every_clip_alike():
    assert mean_metrics([{"a": 1.0, "b": 2.0}, {"a": 4.0, "b": 8.0}]) == {"a": 2.5, "b": 5.0}
    assert mean_metrics([{"a": 3.0}]) == {"a": 3.0}
    with pytest.raises(ValueError, match="no items to measure"):
        mean_metrics([])


@pytest.mark.parametrize(("decibels", "expected"), [(-50.0, 3000.0), (-70.0, 1000.0)])
def test_the_bandwidth_reaches_to_what_is_at_most_sixty_decibels_quieter(decibels, expected):
    time = torch.arange(32000) / 16000
    low, high = (torch.sin(2 * torch.pi * frequency * time) for frequency in (1000, 3000))
    waveform = (low + 10 ** (decibels / 20) * high)[None, None]
    assert bandwidth(waveform, 16000).item() == pytest.approx(expected, abs=50)
