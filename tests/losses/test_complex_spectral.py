from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hf_audio_vae.audio import read_audio
from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.losses import ComplexSTFTLoss, PhaseDerivativeLoss, StereoCorrelationLoss

BREAKBEAT = Path(__file__).parents[2] / "data/held_out/loop_breakbeat.flac"
LOSSES: dict[str, nn.Module] = {
    "complex_stft": ComplexSTFTLoss(window_lengths=(256, 64)),
    "phase_derivatives": PhaseDerivativeLoss(window_lengths=(256, 64)),
    "stereo_correlation": StereoCorrelationLoss(window_length=256),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def drums() -> Tensor:
    return read_audio(BREAKBEAT)[0][None, :, 4000:16000]


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@every_loss
def test_equal_signals_have_no_distance_and_noise_increases_it(loss: nn.Module) -> None:
    x = drums()
    assert loss(x, x).abs() < 1e-4
    distances = [float(loss(x + amount * noise(*x.shape), x)) for amount in (1e-3, 1e-2, 1e-1)]
    assert 0 < distances[0] < distances[1] < distances[2]


@every_loss
@pytest.mark.parametrize("kind", ["silence", "loud", "tiny", "one sample", "constant"])
def test_value_and_gradient_are_finite(loss: nn.Module, kind: str) -> None:
    signals = {
        "silence": torch.zeros(1, 2, 600),
        "loud": 1e4 * noise(1, 2, 600),
        "tiny": 1e-30 * noise(1, 2, 600),
        "one sample": noise(1, 2, 1),
        "constant": torch.ones(1, 2, 600),
    }
    for target in (signals[kind], torch.zeros_like(signals[kind])):
        estimate = signals[kind].clone().requires_grad_()
        distance = loss(estimate, target)
        (gradient,) = torch.autograd.grad(distance, estimate)
        assert distance.isfinite()
        assert gradient.isfinite().all()


@every_loss
def test_spectra_share_transforms_without_changing_the_result(loss: nn.Module) -> None:
    x, y = drums(), drums() + 0.1 * noise(1, 2, 12000)
    torch.testing.assert_close(loss(Spectra(y), Spectra(x)), loss(y, x))


def test_complex_distance_is_the_formula_and_sees_the_phase() -> None:
    x, y = drums().double(), (drums() + 0.1 * noise(1, 2, 12000)).double()
    window = torch.hann_window(256).double()
    theirs, ours = (torch.stft(v[0], 256, 64, window=window, normalized=True, return_complex=True) for v in (x, y))
    expected = ((ours - theirs).abs() / theirs.abs().clamp_min(1e-3) ** 0.5).mean()
    torch.testing.assert_close(ComplexSTFTLoss(window_lengths=(256,))(y, x), expected, rtol=1e-5, atol=0)
    assert ComplexSTFTLoss()(-x, x) > 10 * ComplexSTFTLoss()(1.1 * x, x)


def test_phase_derivatives_ignore_sign_and_gain_and_see_a_wrong_pitch() -> None:
    time = torch.arange(8000) / 8000
    tone, sharp = (torch.sin(2 * torch.pi * f * time)[None, None] for f in (440.0, 466.0))
    loss = PhaseDerivativeLoss(window_lengths=(512,))
    assert loss(-0.3 * tone, tone).abs() < 2e-3
    assert loss(sharp, tone) > 20 * loss(-0.3 * tone, tone).abs()
    assert loss(sharp, tone) > 0.05


def test_correlation_sees_the_image_and_not_the_gain() -> None:
    left, right = noise(1, 8000), torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    wide, mono, inverted = (torch.stack(pair, dim=1) for pair in ((left, right), (left, left), (left, -left)))
    loss = StereoCorrelationLoss()
    torch.testing.assert_close(loss(inverted, mono), torch.tensor(2.0), rtol=0, atol=1e-4)
    assert 0.5 < loss(wide, mono) < 1.2
    assert loss(0.1 * wide, wide) < 1e-4


def test_correlation_of_mono_is_refused() -> None:
    with pytest.raises(ValueError, match="`stereo_correlation` needs stereo, got 1 channels"):
        StereoCorrelationLoss()(noise(1, 1, 100), noise(1, 1, 100))


def test_a_constant_phase_has_no_distance_of_phase_derivatives() -> None:
    x = noise(1, 2, 12000)
    turned = torch.fft.irfft(1j * torch.fft.rfft(x), n=x.shape[-1])  # every partial is a quarter of a period later
    distances = [float(PhaseDerivativeLoss(window_lengths=(256,))(y, x)) for y in (turned, noise(3, 2, 12000)[2:])]
    assert distances[0] < 0.1 * distances[1]
