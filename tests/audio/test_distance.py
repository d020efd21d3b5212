import numpy as np
import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio.distance import (
    QUIET,
    log_magnitude_distance,
    mel_distance,
    spectral_convergence,
    stft_distance,
)
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import magnitude, stft
from tests.spectra import slow_mel_distances, slow_stft_distance

WINDOWS = [8, 32, 64]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def filters(window_length: int) -> Tensor:
    return noise(5, window_length // 2 + 1).abs()


def distances(estimate: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Every distance of this module, (batch,) each."""
    ours, theirs = Spectra(estimate), Spectra(target)
    log_mel, mel = mel_distance(ours, theirs, 32, filters(32), power=2.0)
    return {"stft": stft_distance(ours, theirs, 32), "log_mel": log_mel, "mel": mel}


@pytest.mark.parametrize("window_length", WINDOWS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_stft_distance_equals_the_slow_formula(window_length, channels, weighted):
    estimate, target = noise(3, channels, 150), noise(3, channels, 150, seed=1)
    gain = noise(window_length // 2 + 1).abs() if weighted else None
    distance = stft_distance(Spectra(estimate), Spectra(target), window_length, gain)
    reference = slow_stft_distance(
        estimate.numpy(), target.numpy(), window_length, None if gain is None else gain.double().numpy()
    )
    np.testing.assert_allclose(distance.numpy(), reference, rtol=1e-5)


@pytest.mark.parametrize("window_length", WINDOWS)
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_mel_distances_equal_the_slow_formula(window_length, power):
    estimate, target = noise(3, 2, 150), noise(3, 2, 150, seed=1)
    mels = filters(window_length)
    ours = mel_distance(Spectra(estimate), Spectra(target), window_length, mels, power=power)
    references = slow_mel_distances(estimate.numpy(), target.numpy(), window_length, mels.double().numpy(), power)
    for distance, reference in zip(ours, references, strict=True):
        np.testing.assert_allclose(distance.numpy(), reference, rtol=1e-5)


def test_spectral_convergence_is_the_relative_error():
    target, quiet = noise(2, 3, 9, 11).abs(), torch.tensor(1e-6)
    torch.testing.assert_close(spectral_convergence(1.25 * target, target, quiet), torch.full((2,), 0.25))


def test_what_is_quieter_than_noise_at_minus_60_db_is_measured_against_that_noise():
    """The same error, against silence and against noise at that level: no crop outweighs the others."""
    error, window = noise(1, 1, 4000, seed=1), torch.hann_window(256)
    least = QUIET * 3**0.5 * noise(1, 1, 4000)  # uniform noise in [-1, 1] has a variance of 1/3

    def magnitudes(waveform: Tensor) -> Tensor:
        return magnitude(stft(waveform, window, 64))

    against_silence = magnitudes(error), magnitudes(0 * error)
    against_noise = magnitudes(least + error), magnitudes(least)
    quiet = QUIET * torch.linalg.vector_norm(window)
    ratio = spectral_convergence(*against_silence, quiet) / spectral_convergence(*against_noise, quiet)
    torch.testing.assert_close(ratio, torch.ones(1), rtol=0.1, atol=0)


def test_log_magnitude_distance_is_the_logarithm_of_the_ratio():
    target = noise(2, 3, 9, 11).abs() + 0.1
    expected = torch.full((2,), 3.0).log()
    torch.testing.assert_close(log_magnitude_distance(3 * target, target), expected)
    torch.testing.assert_close(log_magnitude_distance(target / 3, target), expected)


@pytest.mark.parametrize("name", ["stft", "log_mel", "mel"])
class TestEveryDistance:
    def test_of_a_signal_to_itself_is_zero(self, name):
        waveform = noise(2, 2, 100)
        assert torch.equal(distances(waveform, waveform)[name], torch.zeros(2))

    def test_of_different_signals_is_positive(self, name):
        assert (distances(noise(2, 2, 100), noise(2, 2, 100, seed=1))[name] > 0.01).all()

    def test_of_an_item_does_not_depend_on_the_others(self, name):
        estimate, target = noise(4, 2, 100), noise(4, 2, 100, seed=1)
        estimate[0], target[1], estimate[2] = 0, 0, 1000 * estimate[2]
        together = distances(estimate, target)[name]
        apart = torch.cat([distances(estimate[i : i + 1], target[i : i + 1])[name] for i in range(4)])
        torch.testing.assert_close(together, apart, rtol=1e-5, atol=0)

    def test_follows_the_order_of_items_and_ignores_the_order_of_channels(self, name):
        estimate, target = noise(4, 3, 100), noise(4, 3, 100, seed=1)
        distance = distances(estimate, target)[name]
        permuted = distances(estimate[[2, 0, 3, 1]], target[[2, 0, 3, 1]])[name]
        torch.testing.assert_close(permuted, distance[[2, 0, 3, 1]], rtol=1e-5, atol=0)
        torch.testing.assert_close(distances(estimate.flip(1), target.flip(1))[name], distance, rtol=1e-5, atol=0)

    def test_ignores_the_sign(self, name):
        estimate, target = noise(2, 2, 100), noise(2, 2, 100, seed=1)
        distance = distances(estimate, target)[name]
        for signs in [(-1, -1), (-1, 1), (1, -1)]:
            assert torch.equal(distances(signs[0] * estimate, signs[1] * target)[name], distance)

    def test_grows_with_the_error(self, name):
        target, error = noise(1, 1, 400), noise(1, 1, 400, seed=1)
        values = [distances(target + level * error, target)[name].item() for level in (0.0, 0.01, 0.1, 1.0)]
        assert values == sorted(values)
        assert values[0] < values[1]


def test_the_mel_distances_are_symmetric():
    estimate, target = noise(2, 2, 100), noise(2, 2, 100, seed=1)
    for name in ("log_mel", "mel"):
        assert torch.equal(distances(estimate, target)[name], distances(target, estimate)[name])


def test_a_gain_of_zero_leaves_a_bin_out():
    gain = torch.ones(17)
    gain[5:] = 0
    time = torch.arange(400)
    target = 0.1 * noise(1, 1, 400)
    high = torch.sin(2 * torch.pi * 12 / 32 * time)  # in bin 12, a Hann window spreads it by one
    estimate, target = Spectra(target + high), Spectra(target)
    plain, weighted = stft_distance(estimate, target, 32), stft_distance(estimate, target, 32, gain)
    assert plain > 1
    assert weighted < 0.05 * plain
