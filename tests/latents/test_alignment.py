"""Stretched and repeated latents."""

import pytest
import torch
import torch.nn.functional as F

from hf_audio_vae.latents import loop, stretch


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("frames", [1, 2, 3, 7, 100, 333])
def test_the_same_length_is_bit_equal(frames: int, dtype: torch.dtype) -> None:
    latents = random(2, 3, frames).to(dtype)
    assert torch.equal(stretch(latents, frames), latents)
    assert torch.equal(loop(latents, frames), latents)


@pytest.mark.parametrize("frames", [2, 5, 9, 16, 40])
def test_stretching_is_linear_interpolation_with_fixed_ends(frames: int) -> None:
    latents = random(3, 9)
    stretched = stretch(latents, frames)
    assert torch.equal(stretched[:, 0], latents[:, 0])
    assert torch.equal(stretched[:, -1], latents[:, -1])
    expected = F.interpolate(latents[None], frames, mode="linear", align_corners=True)[0]
    torch.testing.assert_close(stretched, expected, rtol=1e-5, atol=1e-5)


def test_a_whole_factor_keeps_every_frame() -> None:
    latents = random(4, 11)
    assert torch.equal(stretch(latents, 3 * 10 + 1)[:, ::3], latents)


def test_one_frame_is_held() -> None:
    latents = random(4, 1)
    assert torch.equal(stretch(latents, 5), latents.expand(4, 5))
    assert torch.equal(stretch(random(4, 6), 1), random(4, 6)[:, :1])
    assert torch.equal(loop(latents, 5), latents.expand(4, 5))


def test_a_loop_keeps_its_period_and_all_frames_away_from_the_seams() -> None:
    latents = random(2, 10)
    looped = loop(latents, 34)
    assert looped.shape == (2, 34)
    assert torch.equal(looped[:, :8], latents[:, :8])  # two frames are faded on each side of a seam
    for start in (10, 20, 30):
        kept = looped[:, start + 2 : start + 8]
        assert torch.equal(kept, latents[:, 2 : 2 + kept.shape[1]])
        assert torch.equal(looped[:, start - 2 : start + 2], looped[:, 8:12])
    assert torch.equal(loop(latents, 30)[:, -8:], latents[:, 2:]), "no round follows the last one"
    assert torch.equal(loop(latents, 34, crossfade=0), latents.repeat(1, 4)[:, :34])
    assert torch.equal(loop(latents, 4), latents[:, :4])


@pytest.mark.parametrize("crossfade", [1, 2, 4])
def test_the_jump_at_a_seam_is_distributed(crossfade: int) -> None:
    # A ramp jumps by 9 at the seam, and moves by 1 everywhere else.
    latents = torch.arange(10.0)[None]
    steps = loop(latents, 20, crossfade=crossfade)[0].diff().abs()
    assert loop(latents, 20, crossfade=0)[0].diff().abs().max() == 9
    assert steps.max() <= 9 / (2 * crossfade + 1) + 1
    assert torch.equal(steps[: 9 - crossfade], torch.ones(9 - crossfade))


@pytest.mark.parametrize("time", [1, 2, 3, 4])
def test_a_round_that_is_shorter_than_its_crossfade_is_repeated(time: int) -> None:
    latents = random(3, time)
    looped = loop(latents, 3 * time, crossfade=8)
    assert looped.shape == (3, 3 * time)
    assert torch.equal(looped[:, 0], latents[:, 0])
    assert torch.equal(looped[:, -1], latents[:, -1])
    assert looped.abs().max() <= latents.abs().max()


@pytest.mark.parametrize("align", [stretch, loop])
def test_wrong_latents_and_lengths_are_refused(align: object) -> None:
    assert callable(align)
    with pytest.raises(ValueError, match="`frames` is 0; give 1 or more"):
        align(torch.zeros(2, 3), 0)
    with pytest.raises(ValueError, match=r"shape \(2, 0\); give floating-point .* one frame"):
        align(torch.zeros(2, 0), 3)
    with pytest.raises(ValueError, match="int64"):
        align(torch.zeros(2, 3).long(), 3)


def test_a_negative_crossfade_is_refused() -> None:
    with pytest.raises(ValueError, match="`crossfade` is -1; give a number of frames"):
        loop(torch.zeros(2, 3), 5, crossfade=-1)
