import random

import pytest
import torch
from torch import Tensor

from hf_audio_vae.latents import ChannelMoments, FrameMoments


def posterior(frames: int, seed: int, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    mean = offset + torch.randn(3, frames, generator=generator, dtype=torch.float64).cumsum(dim=1)
    return mean, torch.rand(3, frames, generator=generator, dtype=torch.float64)


def moments_of(*parts: tuple[Tensor, Tensor], order: int = 4) -> FrameMoments:
    moments = FrameMoments(order)
    for mean, std in parts:
        moments.add(mean, std)
    return moments


def direct(parts: list[tuple[Tensor, Tensor]], order: int) -> tuple[Tensor, Tensor]:
    """The definition, in two passes."""
    frames = sum(mean.shape[1] for mean, _ in parts)
    center = sum(mean.sum(dim=1) for mean, _ in parts) / frames
    covariances = torch.zeros(order + 1, 3, 3, dtype=torch.float64)
    for mean, std in parts:
        x = mean - center[:, None]
        covariances[0] += std.square().sum(dim=1).diag()
        for lag in range(order + 1):
            for t in range(mean.shape[1] - lag):
                covariances[lag] += torch.outer(x[:, t + lag], x[:, t])
    return center, covariances / frames


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_sums_give_the_definition_also_for_items_shorter_than_the_order(offset: float) -> None:
    parts = [posterior(frames, frames, offset) for frames in (1, 50, 3, 20)]
    moments, (mean, covariances) = moments_of(*parts), direct(parts, 4)
    assert (moments.frames, moments.items) == (74, 4)
    torch.testing.assert_close(moments.mean, mean, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(moments.covariances, covariances, rtol=1e-8, atol=1e-9 * float(covariances.max()))


def test_mean_and_std_are_those_of_the_channels() -> None:
    parts = [posterior(frames, frames) for frames in (40, 7)]
    channels = ChannelMoments()
    for part in parts:
        channels.add(*part)
    torch.testing.assert_close(moments_of(*parts).mean, channels.mean, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(moments_of(*parts).std, channels.std, rtol=1e-13, atol=0)


def test_parts_that_were_measured_apart_are_merged_in_any_order() -> None:
    parts = [posterior(frames, frames, offset=frames) for frames in range(1, 30)]
    together = moments_of(*parts)
    random.Random(0).shuffle(parts)
    merged = FrameMoments(4)
    for start in range(0, len(parts), 7):
        merged.merge(moments_of(*parts[start : start + 7]))
    merged.merge(FrameMoments(4))
    assert (merged.frames, merged.items) == (together.frames, together.items)
    torch.testing.assert_close(merged.mean, together.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(merged.covariances, together.covariances, rtol=1e-10, atol=1e-10)
    restored = FrameMoments.from_state_dict(together.state_dict())
    assert torch.equal(restored.covariances, together.covariances) and restored.items == together.items


def test_other_channels_orders_and_values_are_refused() -> None:
    moments = moments_of(posterior(5, 0))
    for call, message in (
        (lambda: moments.add(torch.zeros(2, 4), torch.ones(2, 4)), "has 2 channels, earlier posteriors have 3"),
        (lambda: moments.add(torch.zeros(3, 0), torch.ones(3, 0)), r"`mean` is \(3, 0\)"),
        (lambda: moments.add(torch.full((3, 2), torch.nan), torch.ones(3, 2)), "NaN or infinite"),
        (lambda: moments.merge(FrameMoments(5)), "orders 4 and 5"),
        (lambda: FrameMoments(-1), "`order` is -1"),
        (lambda: FrameMoments().mean, "no latents to describe"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    torch.testing.assert_close(moments.covariances, moments_of(posterior(5, 0)).covariances)
