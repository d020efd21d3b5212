import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hf_audio_vae.audio import read_audio
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import a_weighting, bin_frequencies
from hf_audio_vae.losses import MultiResolutionSTFTLoss, MultiScaleMelLoss
from tests.spectra import slaney_mel_filters, slow_mel_distances, slow_stft_distance

REPO = Path(__file__).parents[2]

BREAKBEAT = REPO / "data/held_out/loop_breakbeat.flac"
RATE = 44100
WINDOWS = (128, 64, 32)
TIME = 300


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def small_losses() -> dict[str, nn.Module]:
    return {
        "stft": MultiResolutionSTFTLoss(sampling_rate=RATE, window_lengths=WINDOWS),
        "stft, mid and side": MultiResolutionSTFTLoss(sampling_rate=RATE, window_lengths=WINDOWS, mid_side=True),
        "stft, A-weighted": MultiResolutionSTFTLoss(sampling_rate=RATE, window_lengths=WINDOWS, a_weighted=True),
        "mel": MultiScaleMelLoss(sampling_rate=RATE, window_lengths=WINDOWS, n_mels=(20, 10, 5)),
    }


def full_losses() -> dict[str, nn.Module]:
    return {
        "stft": MultiResolutionSTFTLoss(sampling_rate=RATE, mid_side=True, a_weighted=True),
        "mel": MultiScaleMelLoss(sampling_rate=RATE),
    }


def extreme_signals(time: int) -> dict[str, Tensor]:
    """Two channels of each, (2, time)."""
    square = torch.ones(2, time)
    square[:, 1::2] = -1
    return {
        "silence": torch.zeros(2, time),
        "noise": noise(2, time),
        "constant": torch.ones(2, time),
        "square": square,
        "clipped": (10 * noise(2, time, seed=1)).clamp(-1, 1),
        "tiny": 1e-30 * noise(2, time),
        "loud": 1e4 * noise(2, time),
        "loudest": 1e10 * noise(2, time),
        "click": nn.functional.pad(torch.ones(2, 1), (0, time - 1)),
    }


def real_pair(seconds: float = 0.5) -> tuple[Tensor, Tensor]:
    """Drums and what eight bits leave of them, (1, 2, time)."""
    target = read_audio(BREAKBEAT)[0][None, :, : round(seconds * RATE)]
    return (target * 128).round() / 128, target


@pytest.mark.parametrize("mid_side", [False, True])
@pytest.mark.parametrize("a_weighted", [False, True])
def test_stft_loss_equals_the_slow_formula_on_real_sound(mid_side, a_weighted):
    estimate, target = real_pair(0.05)
    loss = MultiResolutionSTFTLoss(sampling_rate=RATE, mid_side=mid_side, a_weighted=a_weighted)

    def reference(estimate: np.ndarray, target: np.ndarray) -> float:
        values = []
        for length in (2048, 1024, 512, 256, 128, 64, 32):
            gain = a_weighting(bin_frequencies(length, RATE)).double().numpy() if a_weighted else None
            values.append(slow_stft_distance(estimate, target, length, gain).mean())
        return np.mean(values)

    left, right = np.array([[1, 0], [0, 1]]), np.array([[1, 1], [1, -1]])
    expected = sum(
        reference(mix @ estimate.double().numpy(), mix @ target.double().numpy())
        for mix in ([left, right] if mid_side else [left])
    )
    # float32 rounds each sum of up to 2048 products by about 2048^0.5 * 2^-24; the floor makes that relative to 1e-4.
    assert loss(estimate, target).item() == pytest.approx(expected, rel=1e-4)


def test_mel_loss_equals_the_slow_formula_on_real_sound():
    estimate, target = real_pair(0.05)
    expected = 0.0
    for length, n_mels in zip((32, 64, 128, 256, 512, 1024, 2048), (5, 10, 20, 40, 80, 160, 320), strict=True):
        filters = slaney_mel_filters(n_mels, length, RATE)
        expected += slow_mel_distances(estimate.numpy(), target.numpy(), length, filters)[0].mean()
    loss = MultiScaleMelLoss(sampling_rate=RATE)
    assert loss(estimate, target).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", small_losses())
class TestEveryLoss:
    def test_of_a_signal_to_itself_is_zero(self, name):
        waveform = noise(2, 2, TIME)
        assert small_losses()[name](waveform, waveform).item() == 0

    def test_is_the_mean_of_the_items_alone(self, name):
        loss = small_losses()[name]
        estimate, target = noise(5, 2, TIME), noise(5, 2, TIME, seed=1)
        estimate[0], target[1], estimate[2] = 0, 0, 1000 * estimate[2]
        apart = torch.stack([loss(estimate[i : i + 1], target[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(loss(estimate, target), apart.mean(), rtol=1e-5, atol=0)

    def test_an_items_gradient_does_not_depend_on_the_others(self, name):
        loss = small_losses()[name]
        estimate, target = noise(3, 2, TIME), noise(3, 2, TIME, seed=1)
        estimate[1] *= 100
        together, alone = estimate.clone().requires_grad_(), estimate[:1].clone().requires_grad_()
        loss(together, target).backward()
        loss(alone, target[:1]).backward()
        torch.testing.assert_close(3 * together.grad[:1], alone.grad, rtol=1e-4, atol=1e-6)

    def test_ignores_the_order_of_items(self, name):
        loss = small_losses()[name]
        estimate, target = noise(4, 2, TIME), noise(4, 2, TIME, seed=1)
        permuted = loss(estimate[[2, 0, 3, 1]], target[[2, 0, 3, 1]])
        torch.testing.assert_close(permuted, loss(estimate, target), rtol=1e-6, atol=0)

    def test_ignores_a_common_sign(self, name):
        loss = small_losses()[name]
        estimate, target = noise(2, 2, TIME), noise(2, 2, TIME, seed=1)
        assert torch.equal(loss(-estimate, -target), loss(estimate, target))

    @pytest.mark.parametrize("time", [1, 2, 31, 32, 33, 127])
    def test_takes_any_length(self, name, time):
        estimate, target = noise(1, 2, time).requires_grad_(), noise(1, 2, time, seed=1)
        loss = small_losses()[name](estimate, target)
        loss.backward()
        assert loss > 0
        assert estimate.grad.isfinite().all()
        assert estimate.grad.any()

    @pytest.mark.parametrize("time", [1, TIME])
    def test_extreme_signals_have_finite_values_and_gradients(self, name, time):
        loss = small_losses()[name]
        signals = extreme_signals(time)
        pairs = [(estimate, target) for estimate in signals for target in signals]
        estimates = torch.stack([signals[estimate] for estimate, _ in pairs])
        targets = torch.stack([signals[target] for _, target in pairs])
        for estimate, target in zip(estimates.split(1), targets.split(1), strict=True):
            estimate = estimate.clone().requires_grad_()
            value = loss(estimate, target)
            value.backward()
            assert value.isfinite()
            assert estimate.grad.isfinite().all()
        batch = estimates.clone().requires_grad_()
        value = loss(batch, targets)
        value.backward()
        assert value.isfinite()
        assert batch.grad.isfinite().all()

    def test_descent_along_the_gradient_lowers_it(self, name):
        loss = small_losses()[name]
        estimate, target = noise(1, 2, TIME).requires_grad_(), noise(1, 2, TIME, seed=1)
        before = loss(estimate, target)
        before.backward()
        step = 1e-3 * estimate.grad / estimate.grad.norm()
        assert loss((estimate - step).detach(), target) < before

    def test_is_the_same_inside_bf16_autocast(self, name):
        loss = small_losses()[name]
        estimate, target = noise(2, 2, TIME).requires_grad_(), noise(2, 2, TIME, seed=1)
        outside = loss(estimate, target)
        (gradient,) = torch.autograd.grad(outside, estimate)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = loss(estimate, target)
        assert inside.dtype == torch.float32
        assert torch.equal(inside, outside)
        assert torch.equal(torch.autograd.grad(inside, estimate)[0], gradient)

    def test_of_half_precision_waveforms_is_computed_in_float32(self, name):
        loss = small_losses()[name]
        estimate, target = noise(2, 2, TIME).bfloat16(), noise(2, 2, TIME, seed=1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(estimate, target), loss(estimate.float(), target))

    def test_has_nothing_to_learn_or_to_save(self, name):
        loss = small_losses()[name]
        assert not list(loss.parameters())
        assert not loss.state_dict()


@pytest.mark.parametrize("name", full_losses())
@pytest.mark.parametrize("time", [1, 5000])
def test_the_default_losses_are_finite_on_extreme_signals_in_one_batch(name, time):
    signals = extreme_signals(time)
    estimate = torch.stack(list(signals.values())).requires_grad_()
    for shift in range(4):
        estimate.grad = None
        value = full_losses()[name](estimate, estimate.detach().roll(shift, dims=0))
        value.backward()
        assert value.isfinite()
        assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("name", full_losses())
def test_the_default_losses_rise_with_noise_on_real_sound(name):
    _, target = real_pair(0.2)
    error = noise(*target.shape)
    values = [full_losses()[name](target + level * error, target).item() for level in (0, 1e-3, 1e-2, 1e-1)]
    assert values == sorted(values)
    assert values[0] == 0 < values[1]


@pytest.mark.parametrize("channels", [1, 3])
def test_mid_side_refuses_what_is_not_stereo(channels):
    loss = small_losses()["stft, mid and side"]
    with pytest.raises(ValueError, match=f"`mid_side` needs stereo, got {channels} channels"):
        loss(noise(1, channels, TIME), noise(1, channels, TIME))


@pytest.mark.parametrize("channels", [1, 3])
def test_without_mid_side_any_channels_will_do(channels):
    for name in ("stft", "stft, A-weighted", "mel"):
        assert small_losses()[name](noise(1, channels, TIME), noise(1, channels, TIME, seed=1)) > 0


def test_mid_side_hears_an_image_that_left_and_right_do_not():
    mono = noise(1, 1, TIME)
    centred, inverted = torch.cat((mono, mono), dim=1), torch.cat((mono, -mono), dim=1)
    assert small_losses()["stft"](inverted, centred).item() == 0
    assert small_losses()["stft, mid and side"](inverted, centred).item() > 1


def test_mid_side_ignores_an_exchange_of_channels_in_both():
    loss = small_losses()["stft, mid and side"]
    estimate, target = noise(2, 2, TIME), noise(2, 2, TIME, seed=1)
    torch.testing.assert_close(loss(estimate.flip(1), target.flip(1)), loss(estimate, target), rtol=1e-6, atol=0)


def test_the_a_weighted_loss_counts_4_khz_above_40_hz():
    time = torch.arange(RATE // 2) / RATE
    target = 0.1 * noise(1, 1, len(time))
    plain, weighted = (MultiResolutionSTFTLoss(sampling_rate=RATE, a_weighted=heard) for heard in (False, True))
    low, high = (target + 0.3 * torch.sin(2 * math.pi * frequency_hz * time) for frequency_hz in (40, 4000))
    assert weighted(high, target) > 2 * weighted(low, target)
    # The tones are of one size: unweighted, their difference in convergence is small.
    assert plain(high, target) < 1.5 * plain(low, target)


def test_scales_have_to_match():
    with pytest.raises(ValueError, match="same scales"):
        MultiScaleMelLoss(sampling_rate=RATE, window_lengths=(64, 32), n_mels=(5,))


def gradient_norms(estimate: Tensor, target: Tensor, mid_side: bool) -> Tensor:
    """Norm of the loss's gradient for each item of a batch."""
    estimate = estimate.clone().requires_grad_(True)
    loss = MultiResolutionSTFTLoss(sampling_rate=16000, window_lengths=(1024, 256, 64), mid_side=mid_side)
    loss(estimate, target).backward()
    return torch.linalg.vector_norm(estimate.grad, dim=(1, 2))


def test_a_silent_item_does_not_outweigh_the_others():
    speech, _ = read_audio(REPO / "data/held_out/speech_en_0890.flac")
    target = speech[:, 16000:48000].reshape(4, 1, 8000).clone()
    target[3] = 0
    error = 0.01 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    norms = gradient_norms(target + error, target, mid_side=False)
    assert norms[3] < 10 * norms[:3].max()


def test_mono_in_two_channels_does_not_outweigh_stereo():
    music, _ = read_audio(REPO / "data/held_out/music_musicbox.ogg")
    stereo = music[:, 44100 : 44100 + 16000]
    target = torch.stack([stereo, stereo.mean(dim=0).expand(2, -1)])
    error = 0.01 * torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    stereo_norm, mono_norm = gradient_norms(target + error, target, mid_side=True)
    assert mono_norm < 10 * stereo_norm


def test_losses_of_shared_spectra_transform_each_signal_once_and_agree(monkeypatch):
    estimate, target = noise(2, 2, TIME), noise(2, 2, TIME, seed=1)
    apart = {name: loss(estimate, target) for name, loss in small_losses().items()}
    asked = []
    plain = torch.stft
    monkeypatch.setattr(torch, "stft", lambda *args, **options: asked.append(args[1]) or plain(*args, **options))
    ours, theirs = Spectra(estimate), Spectra(target)
    together = {name: loss(ours, theirs) for name, loss in small_losses().items()}
    assert sorted(asked) == sorted(2 * WINDOWS), "four losses, one transform a window and signal"
    assert together == apart
