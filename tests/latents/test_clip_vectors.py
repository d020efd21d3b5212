"""Clips as vectors of one length."""

import pytest
import torch

from hf_audio_vae.latents import clip_vector, standardized

RANDOM = torch.Generator().manual_seed(0)


def test_mean_and_deviation_of_each_channel_do_not_depend_on_the_length_or_the_order_of_frames() -> None:
    latents = torch.randn(3, 5, 40, generator=RANDOM)
    vectors = clip_vector(latents)
    assert vectors.shape == (3, 10) and vectors.dtype == torch.float64
    torch.testing.assert_close(vectors[:, :5], latents.double().mean(dim=-1))
    torch.testing.assert_close(vectors[:, 5:], latents.double().var(dim=-1, correction=0).sqrt())
    torch.testing.assert_close(clip_vector(latents.repeat(1, 1, 3)), vectors)
    torch.testing.assert_close(clip_vector(latents.flip(-1)), vectors)


def test_a_single_frame_does_not_change() -> None:
    assert clip_vector(torch.tensor([[2.0], [-1.0]])).tolist() == [2.0, -1.0, 0.0, 0.0]


def test_every_dimension_counts_equally_whatever_its_scale() -> None:
    vectors = torch.randn(50, 4, generator=RANDOM, dtype=torch.float64)
    scaled = standardized(vectors)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(4).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(scaled.std(dim=0, correction=0), torch.ones(4).double())
    # Rounding of 10 + 1e-3 x in float64: 10 * 2^-52 / 1e-3.
    scales, offsets = torch.tensor([[1e-3, 1.0, 7.0, 1e6], [10.0, 0.0, -2.0, 0.0]], dtype=torch.float64)
    other = standardized(vectors * scales + offsets)
    torch.testing.assert_close(other, scaled, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3])
def test_a_constant_dimension_tells_no_clips_apart(value: float) -> None:
    rounding = torch.tensor([0.0, 1e-7, -1e-7, 0.0, 1e-7, 0.0, 0.0]) * value  # of float32
    vectors = torch.stack([value + rounding.double(), torch.randn(7, generator=RANDOM).double()], dim=1)
    assert standardized(vectors)[:, 0].tolist() == [0.0] * 7
    assert standardized(vectors)[:, 1].abs().max() > 1


@pytest.mark.parametrize("latents", [torch.zeros(3), torch.zeros(3, 0), torch.zeros(0, 3)])
def test_latents_without_frames_are_refused(latents: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"give \(\.\.\., latent_channels, frames\)"):
        clip_vector(latents)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="leave this clip out"):
        clip_vector(torch.tensor([[0.0, torch.nan]]))
    with pytest.raises(ValueError, match="leave these clips out"):
        standardized(torch.tensor([[torch.inf], [0.0]]))
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        standardized(torch.zeros(3))
