import json
import random

import pytest
import torch
from torch import Tensor

from hf_audio_vae.latents import ChannelMoments


def posterior(frames: int, seed: int, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([[0.1], [1.0], [10.0]], dtype=torch.float64)
    mean = offset + scale * torch.randn(3, frames, generator=generator, dtype=torch.float64)
    return mean, scale * torch.rand(3, frames, generator=generator, dtype=torch.float64)


def moments_of(*parts: tuple[Tensor, Tensor]) -> ChannelMoments:
    moments = ChannelMoments()
    for mean, std in parts:
        moments.add(mean, std)
    return moments


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_parts_of_any_size_give_the_moments_of_the_whole(offset: float) -> None:
    parts = [posterior(frames, frames, offset) for frames in (1, 700, 2, 31)]
    mean, std = (torch.cat(values, dim=1) for values in zip(*parts, strict=True))
    moments = moments_of(*parts)
    variance = mean.var(dim=1, correction=0) + std.square().mean(dim=1)
    # The two-pass formula itself loses about 1e-16 * offset a frame.
    torch.testing.assert_close(moments.mean, mean.mean(dim=1), rtol=1e-14, atol=1e-13)
    torch.testing.assert_close(moments.std, variance.sqrt(), rtol=1e-9, atol=0)
    assert moments.frames == 734


def test_they_are_the_moments_of_latents_that_are_drawn() -> None:
    mean, std = posterior(200_000, 0)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = mean + std * noise
    moments = moments_of((mean, std))
    error = moments.std / mean.shape[1] ** 0.5  # standard error of the mean; that of the std is smaller
    assert ((moments.mean - drawn.mean(dim=1)).abs() < 4 * error).all()
    assert ((moments.std - drawn.std(dim=1)).abs() < 4 * error).all()


def test_what_was_measured_apart_can_be_merged_in_any_order() -> None:
    parts = [posterior(frames, frames, 5.0) for frames in range(1, 40)]
    together = moments_of(*parts)
    random.Random(0).shuffle(parts)
    merged = ChannelMoments()
    for start in range(0, len(parts), 7):
        merged.merge(moments_of(*parts[start : start + 7]))
    merged.merge(ChannelMoments())
    torch.testing.assert_close(merged.mean, together.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(merged.std, together.std, rtol=1e-13, atol=0)


def test_json_keeps_every_bit() -> None:
    moments = moments_of(posterior(17, 0), posterior(5, 1))
    copy = ChannelMoments.from_state_dict(json.loads(json.dumps(moments.state_dict())))
    assert copy.frames == moments.frames
    assert torch.equal(copy.mean, moments.mean)
    assert torch.equal(copy.std, moments.std)


def test_the_distance_is_that_of_the_worst_channel_in_units_of_the_reference() -> None:
    mean, std = torch.tensor([[0.0, 2.0], [10.0, 14.0]]), torch.zeros(2, 2)  # stds 1 and 2
    shifted = torch.tensor([[0.5, 2.5], [9.0, 15.0]])  # by half a std; stds 1 and 3
    assert moments_of((shifted, std)).distance(moments_of((mean, std))) == pytest.approx((0.5, 1.5))
    narrow = torch.tensor([[0.0, 2.0], [11.5, 12.5]])
    assert moments_of((narrow, std)).distance(moments_of((mean, std))) == pytest.approx((0.0, 4.0))


def test_a_distance_is_measured_in_the_deviations_of_the_other_data() -> None:
    mine, reference = ChannelMoments(), ChannelMoments()
    mine.add(torch.tensor([[-3.0, 5.0]]), torch.zeros(1, 2))  # mean 1, deviation 4
    reference.add(torch.tensor([[-2.0, 2.0]]), torch.zeros(1, 2))  # mean 0, deviation 2
    assert mine.distance(reference) == pytest.approx((0.5, 2.0))
    assert reference.distance(mine) == pytest.approx((0.25, 2.0))


def test_another_model_is_refused() -> None:
    moments = moments_of(posterior(3, 0))
    with pytest.raises(ValueError, match="has 2 channels, earlier posteriors have 3"):
        moments.add(torch.zeros(2, 1), torch.ones(2, 1))
