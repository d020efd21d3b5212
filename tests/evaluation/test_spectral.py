"""SNR, log-spectral distance, DAC's training mel distance, phase and stereo."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.evaluation.metrics import si_sdr
from hf_audio_vae.evaluation.spectral import (
    interchannel_coherence_error,
    interchannel_phase_coherence,
    log_spectral_distance,
    mel_distance_seven_scales,
    phase_coherence,
    snr,
)
from hf_audio_vae.losses import MultiScaleMelLoss
from tests.evaluation.test_metrics import noise, orthogonal_noise, sound
from tests.spectra import slaney_mel_filters, slow_mel_distances

STEREO = (interchannel_phase_coherence, interchannel_coherence_error)


def noisy(target: Tensor, decibels: float) -> Tensor:
    return target + 10 ** (-decibels / 20) * orthogonal_noise(target)


def test_noise_at_20_db_has_a_ratio_of_20_db() -> None:
    target = noise(2, 2, 20_000).double()
    target = target - target.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(snr(noisy(target, 20), target), torch.full((2,), 20.0).double(), rtol=0, atol=1e-2)
    torch.testing.assert_close(si_sdr(noisy(target, 20), target), torch.full((2,), 20.0).double(), rtol=0, atol=1e-2)


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.1, -1.0])
def test_a_gain_is_noise_for_the_snr_only(gain: float) -> None:
    target, _ = sound("loop_breakbeat.flac")
    assert snr(gain * target, target).item() == pytest.approx(-20 * math.log10(abs(gain - 1)), abs=1e-3)
    assert si_sdr(gain * target, target).item() > 90


def test_the_ratios_are_those_of_torchmetrics() -> None:
    audio = pytest.importorskip("torchmetrics.functional.audio")
    target, _ = sound("music_musicbox.ogg")
    estimate = 0.8 * target + 0.01 * noise(*target.shape)
    assert snr(estimate, target).item() == pytest.approx(
        audio.signal_noise_ratio(estimate, target).mean().item(), abs=1e-3
    )
    assert si_sdr(estimate, target).item() == pytest.approx(
        audio.scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True).mean().item(), abs=1e-3
    )


@pytest.mark.parametrize("decibels", [-6.0, 1.0, 20.0])
def test_the_log_spectral_distance_of_a_gain_is_the_gain(decibels: float) -> None:
    target = noise(2, 2, 10_000)  # far above the floor everywhere
    values = log_spectral_distance(10 ** (decibels / 20) * target, target)
    torch.testing.assert_close(values, torch.full((2,), abs(decibels)), rtol=1e-3, atol=0)


def test_the_log_spectral_distance_equals_the_slow_formula() -> None:
    target, _ = sound("speech_en_0890.flac", seconds=0.3)
    estimate = target + 0.01 * noise(*target.shape)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)
    rows = []
    for signal in (estimate, target):
        padded = np.pad(signal[0, 0].double().numpy(), 1024, mode="reflect")
        frames = np.stack([padded[i : i + 2048] for i in range(0, len(padded) - 2047, 512)])
        rows.append(20 * np.log10(np.abs(np.fft.rfft(frames * window)).clip(1e-4)))
    expected = np.sqrt(((rows[0] - rows[1]) ** 2).mean(axis=1)).mean()
    assert log_spectral_distance(estimate, target).item() == pytest.approx(expected, rel=1e-4)


def test_the_mel_distance_of_seven_scales_is_dacs_training_loss() -> None:
    target, sampling_rate = sound("speech_en_0890.flac", seconds=0.1)
    estimate = target + 0.02 * noise(*target.shape)
    expected = 0.0
    for length, n_mels in ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320)):
        filters = slaney_mel_filters(n_mels, length, sampling_rate)
        logs, _ = slow_mel_distances(estimate.numpy(), target.numpy(), length, filters, power=1.0)
        expected += logs.mean()
    value = mel_distance_seven_scales(estimate, target, sampling_rate).item()
    assert value == pytest.approx(expected, rel=1e-3)
    assert value == pytest.approx(MultiScaleMelLoss(sampling_rate=sampling_rate)(estimate, target).item(), rel=1e-6)


def test_equal_signals_have_no_distance_and_full_coherence() -> None:
    target, sampling_rate = sound("loop_breakbeat.flac")
    assert log_spectral_distance(target, target).item() == 0
    assert mel_distance_seven_scales(target, target, sampling_rate).item() == 0
    assert phase_coherence(target, target).item() == pytest.approx(1, abs=1e-5)
    assert interchannel_phase_coherence(target, target).item() == pytest.approx(1, abs=1e-5)
    assert interchannel_coherence_error(target, target).item() == 0


def rotated(waveform: Tensor, radians: float) -> Tensor:
    """All frequencies turned by an angle, except for 0 and the highest."""
    spectrum = torch.fft.rfft(waveform)
    spectrum[..., 1:-1] *= torch.exp(torch.tensor(1j * radians))
    return torch.fft.irfft(spectrum, n=waveform.shape[-1])


@pytest.mark.parametrize("radians", [0.0, 0.5, math.pi / 2, 2.5, math.pi])
def test_the_phase_coherence_of_a_rotation_is_its_cosine(radians: float) -> None:
    target, _ = sound("music_musicbox.ogg", seconds=4)
    assert phase_coherence(3 * rotated(target, radians), target).item() == pytest.approx(math.cos(radians), abs=0.01)


def test_unrelated_noise_has_no_phase_coherence() -> None:
    target = noise(1, 1, 200_000)
    # 49,000 independent values with a standard deviation of a half: 0.003 for the mean cosine.
    assert abs(phase_coherence(noise(1, 1, 200_000, seed=1), target).item()) < 0.02


def test_phase_coherence_leaves_a_silent_channel_out() -> None:
    target = noise(1, 2, 10_000)
    target[:, 1] = 0
    assert phase_coherence(target, target).item() == pytest.approx(1, abs=1e-5)
    assert phase_coherence(torch.zeros_like(target), target).isnan().item()


@pytest.mark.parametrize("radians", [0.0, 0.5, math.pi / 2, math.pi])
def test_the_interchannel_coherence_sees_the_rotation_of_one_channel(radians: float) -> None:
    target, _ = sound("music_rock_war_guitar.ogg", seconds=4)
    left, right = target.unbind(dim=1)
    turned = torch.stack((rotated(left, radians), right), dim=1)
    assert interchannel_phase_coherence(turned, target).item() == pytest.approx(math.cos(radians), abs=0.02)
    both = rotated(target, radians)
    assert interchannel_phase_coherence(both, target).item() == pytest.approx(1, abs=0.02)


def test_the_coherence_error_of_decorrelated_channels_is_one() -> None:
    mono = noise(1, 1, 400_000)
    same, independent = mono.expand(1, 2, -1), torch.cat((mono, noise(1, 1, 400_000, seed=1)), dim=1)
    # The coherence of n independent frames is about 1 / sqrt(n), n = 780 overlapping ones.
    assert interchannel_coherence_error(independent, same).item() > 0.9
    assert interchannel_coherence_error(torch.stack((2 * mono[:, 0], mono[:, 0]), 1), same).item() < 1e-4


@pytest.mark.parametrize("metric", STEREO)
def test_metrics_between_channels_need_stereo(metric) -> None:
    with pytest.raises(ValueError, match="1 channels; metrics between channels need stereo"):
        metric(noise(1, 1, 3000), noise(1, 1, 3000))
