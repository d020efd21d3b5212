"""The denoiser on processes whose best error is known."""

import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.comparison.diffusability import EncodedClips, FrameDenoiser, denoising_errors, trained_denoiser
from hf_audio_vae.comparison.diffusability.denoiser import PROCESS, sampled
from hf_audio_vae.comparison.diffusability.denoising import DenoisingErrors, measured_times


def autoregressive(rho: float, *, clips: int, frames: int, seed: int, std: float = 0.0) -> EncodedClips:
    """Two channels of a normal AR(1) process with variance 1, of which `std` is the posterior's."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(clips, 2, frames, generator=generator)
    for frame in range(1, frames):
        x[..., frame] = rho * x[..., frame - 1] + math.sqrt(1 - rho**2) * x[..., frame]
    return EncodedClips((math.sqrt(1 - std**2) * clip, torch.full_like(clip, std)) for clip in x)


def best_errors(rho: float, std: float = 0.0) -> DenoisingErrors:
    """Errors of the velocity of the best denoiser of that process (a Wiener smoother), and of the linear predictor."""
    angle = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000 * math.pi
    density = (1 - std**2) * (1 - rho**2) / (1 - 2 * rho * angle.cos() + rho**2) + std**2
    times = measured_times()[:, None]
    ratio = ((1 - times) / times) ** 2
    smoothed = (density / (1 + ratio * density)).mean(dim=1, keepdim=True)
    return DenoisingErrors(smoothed / times**2, 1 / (1 + ratio) / times**2)


def test_the_learnt_divergence_of_an_ar_process_is_its_redundancy() -> None:
    for rho in (0.5, 0.9):  # relative entropy of the process and white noise, in bits a number
        assert best_errors(rho).learnt_bits == pytest.approx(-0.5 * math.log2(1 - rho**2), rel=0.01)
    assert best_errors(0.0).gain_bits == pytest.approx(0, abs=1e-9)


def test_the_error_of_the_linear_predictor_has_its_closed_form() -> None:
    white = autoregressive(0.0, clips=4, frames=2500, seed=3)
    errors = denoising_errors(FrameDenoiser(2), white, seed=0)
    expected = 1 / ((1 - measured_times()) ** 2 + measured_times() ** 2)
    # A mean of 10 000 squares of normal values: relative deviation 1.4 %.
    torch.testing.assert_close(errors.linear, expected[:, None].expand(-1, 2), rtol=0.05, atol=0)


def test_an_untrained_denoiser_has_gained_nothing() -> None:
    errors = denoising_errors(FrameDenoiser(2, seed=5), autoregressive(0.9, clips=1, frames=300, seed=0), seed=0)
    assert (errors.gain_bits, errors.learnt_bits) == (0, 0)


def test_white_noise_has_nothing_to_learn() -> None:
    train, held_out = (autoregressive(0.0, clips=8, frames=400, seed=seed, std=0.5) for seed in (1, 2))
    errors = denoising_errors(trained_denoiser(train, steps=40, batch=8, frames=64, seed=0), held_out, seed=0)
    assert abs(errors.gain_bits) < 0.01
    assert abs(errors.learnt_bits) < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("std", [0.0, 0.5])
def test_the_denoiser_learns_an_ar_process(std: float) -> None:
    train = autoregressive(0.9, clips=20, frames=400, seed=1, std=std)
    held_out = autoregressive(0.9, clips=16, frames=1000, seed=2, std=std)
    errors = denoising_errors(trained_denoiser(train, steps=150, batch=8, frames=64, seed=0), held_out, seed=0)
    best = best_errors(0.9, std)
    assert 0.7 * best.gain_bits < errors.gain_bits < 1.05 * best.gain_bits
    assert 0.7 * best.learnt_bits < errors.learnt_bits < 1.05 * best.learnt_bits


def test_padding_does_not_change_the_prediction() -> None:
    denoiser = trained_denoiser(autoregressive(0.9, clips=2, frames=30, seed=0), steps=3, batch=2, frames=40, seed=0)
    noisy, times = torch.randn(1, 2, 30), torch.tensor([0.3])
    padded = torch.nn.functional.pad(noisy, (0, 20), value=7.0)
    found = denoiser(padded, times, torch.arange(50)[None] < 30)[..., :30]
    torch.testing.assert_close(found, denoiser(noisy, times), rtol=1e-5, atol=1e-5)


def test_equal_seeds_give_equal_weights_in_all_inner_layers_whatever_the_latents() -> None:
    few, many = FrameDenoiser(2, seed=1).state_dict(), FrameDenoiser(32, seed=1).state_dict()
    outer = {name for name in few if not torch.equal(few[name], many[name])} if few.keys() == many.keys() else None
    assert outer is not None
    assert {name.split(".")[0] for name in outer} == {"project_in", "project_out"}


def test_training_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    clips = autoregressive(0.9, clips=2, frames=30, seed=0)
    before = torch.random.get_rng_state()
    first, second = (trained_denoiser(clips, steps=4, batch=2, frames=16, seed=0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_sampler_carries_noise_to_the_distribution() -> None:
    class Shifted(FrameDenoiser):
        """The exact denoiser of normal latents with mean 3."""

        def forward(self, noisy: Tensor, times: Tensor, mask: Tensor | None = None) -> Tensor:
            t = times[:, None, None]
            return PROCESS.linear_guess(noisy - (1 - t) * 3, times) - 3

    noise = torch.randn(4, 2, 5000, generator=torch.Generator().manual_seed(0))
    latents = sampled(Shifted(2), noise, steps=50)
    assert latents.mean().item() == pytest.approx(3, abs=0.02)
    assert latents.std().item() == pytest.approx(1, abs=0.03)


def test_each_step_of_the_sampler_starts_at_its_time() -> None:
    class Clock(FrameDenoiser):
        def forward(self, noisy: Tensor, times: Tensor, mask: Tensor | None = None) -> Tensor:
            return times[:, None, None].expand_as(noisy)

    latents = sampled(Clock(2), torch.zeros(1, 2, 3), steps=4)
    torch.testing.assert_close(latents, torch.full_like(latents, -(1 + 0.75 + 0.5 + 0.25) / 4))


def test_normalised_clips_have_mean_0_and_variance_1_with_their_posteriors() -> None:
    noise = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    clips = EncodedClips([(noise * 2 + 5, torch.ones(2, 4000))])
    normalised = clips.normalised(*clips.statistics())
    drawn = normalised.sample(0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(dim=1), torch.zeros(2), rtol=0, atol=0.05)
    torch.testing.assert_close(drawn.std(dim=1), torch.ones(2), rtol=0.05, atol=0)


def test_a_constant_channel_is_refused() -> None:
    mean = torch.stack([torch.randn(10), torch.full((10,), 2.0)])
    with pytest.raises(ValueError, match=r"channels \[1\].*constant"):
        EncodedClips([(mean, torch.zeros(2, 10))]).statistics()


def test_crops_hold_only_frames_of_one_clip() -> None:
    short, long = torch.full((1, 5), 1.0), torch.full((1, 50), 2.0)
    crops = EncodedClips([(m, torch.zeros_like(m)) for m in (short, long)]).crops(
        64, 10, torch.Generator().manual_seed(0)
    )
    lengths = crops.mask.sum(dim=1)
    assert set(lengths.tolist()) == {5, 10}
    values = torch.where(lengths == 5, 1.0, 2.0)[:, None].expand(-1, 10)
    torch.testing.assert_close(crops.latents[:, 0], torch.where(crops.mask, values, 0.0))
    assert 1 <= int((lengths == 5).sum()) <= 16  # 5 of 55 frames
