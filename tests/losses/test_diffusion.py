import math

import pytest
import torch
from torch import Tensor

from hf_audio_vae.losses.diffusion import RectifiedFlow, VPrediction, masked_mse

PROCESSES = [RectifiedFlow(), RectifiedFlow(logit_normal=False), VPrediction()]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_way_leads_from_latents_to_noise(process) -> None:
    x, e = noise(2, 3, 5), noise(2, 3, 5, seed=1)
    torch.testing.assert_close(process.noisy(x, e, torch.zeros(2, dtype=torch.float64)), x, rtol=0, atol=1e-14)
    torch.testing.assert_close(process.noisy(x, e, torch.ones(2, dtype=torch.float64)), e, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("process", "speed"), [(RectifiedFlow(), 1.0), (VPrediction(), math.pi / 2)])
def test_the_target_is_the_direction_of_the_way(process, speed: float) -> None:
    x, e = noise(4, 3, 5), noise(4, 3, 5, seed=1)
    times = torch.tensor([0.1, 0.4, 0.5, 0.9], dtype=torch.float64)
    _, derivative = torch.func.jvp(lambda t: process.noisy(x, e, t), (times,), (torch.ones_like(times),))
    torch.testing.assert_close(derivative, speed * process.target(x, e, times), rtol=0, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES)
def test_no_linear_guess_is_better_than_the_linear_guess(process) -> None:
    x, e = noise(5, 1, 100_000), noise(5, 1, 100_000, seed=1)
    times = torch.tensor([0.05, 0.3, 0.5, 0.7, 0.95], dtype=torch.float64)
    noisy, target = process.noisy(x, e, times), process.target(x, e, times)
    best = (noisy * target).sum(dim=(1, 2)) / noisy.square().sum(dim=(1, 2))  # least squares
    guess = process.linear_guess(noisy, times)
    torch.testing.assert_close(guess, best[:, None, None] * noisy, rtol=0, atol=0.03)


def test_times_are_uniform_or_those_of_a_squashed_normal() -> None:
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    assert torch.equal(VPrediction().times(uniform), uniform)
    assert torch.equal(RectifiedFlow(logit_normal=False).times(uniform), uniform)
    times = RectifiedFlow().times(uniform)
    assert times.dtype == uniform.dtype
    assert times.logit().mean().abs() < 1e-3
    assert abs(times.logit().std() - 1) < 1e-2
    assert RectifiedFlow().times(torch.tensor([0.0, 1.0])).min() > 0


def test_an_items_error_does_not_depend_on_its_padding() -> None:
    estimate, target = noise(1, 3, 4), noise(1, 3, 4, seed=1)
    alone = masked_mse(estimate, target, torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(alone, (estimate - target).square().mean()[None])
    padded = [
        torch.cat([value, torch.full((1, 3, 2), rest)], dim=2) for value, rest in ((estimate, 9.0), (target, 5.0))
    ]
    mask = torch.tensor([[True] * 4 + [False] * 2])
    torch.testing.assert_close(masked_mse(*padded, mask), alone)


def test_padding_that_is_not_finite_leaves_no_trace() -> None:
    estimate = torch.tensor([[[1.0, torch.nan]]], requires_grad=True)
    error = masked_mse(estimate, torch.zeros(1, 1, 2), torch.tensor([[True, False]])).sum()
    error.backward()
    assert error == 1.0
    assert estimate.grad[0, 0, 0] == 2.0
