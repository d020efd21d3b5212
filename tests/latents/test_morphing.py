"""Paths between sounds of different lengths, and sounds that move from one to another."""

import pytest
import torch

from hf_audio_vae.latents import ALIGNMENTS, Stretched, morphs, moving_morph, warp
from hf_audio_vae.latents.interpolation import METHODS

LENGTHS = [(20, 33), (33, 20), (1, 7), (7, 1), (12, 12), (10, 25, 4)]


def sounds_of(lengths: tuple[int, ...]) -> list[torch.Tensor]:
    return [
        torch.randn(1, 4, frames, generator=torch.Generator().manual_seed(seed)) for seed, frames in enumerate(lengths)
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("align", ALIGNMENTS)
@pytest.mark.parametrize("lengths", LENGTHS)
def test_points_of_a_path_are_the_sounds_bit_by_bit(lengths: tuple[int, ...], align: str, method: str) -> None:
    sounds = sounds_of(lengths)
    path = list(morphs(ALIGNMENTS[align](sounds), len(sounds), 4 * len(sounds) - 3, method=method))
    for sound, morph in zip(sounds, path[::4], strict=True):
        assert torch.equal(morph.latents, sound)
    assert [morph.leg + morph.weight for morph in path] == pytest.approx([step / 4 for step in range(len(path))])


@pytest.mark.parametrize(("align", "expected"), [("stretch", 26), ("loop", 33), ("warp", 26)])
def test_the_length_halfway(align: str, expected: int) -> None:
    halfway = list(morphs(ALIGNMENTS[align](sounds_of((20, 33))), 2, 3))[1]
    assert halfway.latents.shape == (1, 4, expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("align", ALIGNMENTS)
@pytest.mark.parametrize("lengths", [(20, 33), (33, 20), (12, 12), (10, 25, 4)])
def test_a_moving_sound_begins_as_the_first_and_ends_as_the_last(
    lengths: tuple[int, ...], align: str, method: str
) -> None:
    sounds = sounds_of(lengths)
    alignment = ALIGNMENTS[align](sounds)
    moved = moving_morph(alignment, method=method)
    assert torch.equal(moved[..., 0], sounds[0][..., 0])
    if align == "loop":
        sounds = alignment.moving()[0]
    assert torch.equal(moved[..., -1], sounds[-1][..., -1])


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_positions_of_a_moving_sound_rise_from_the_first_to_the_last(align: str) -> None:
    sounds = sounds_of((10, 25, 14))
    aligned, position = ALIGNMENTS[align](sounds).moving()
    assert position[0] == 0
    assert position[-1] == 2
    assert (position.diff() >= 0).all()
    assert position.diff().max() < 0.5
    assert {latents.shape for latents in aligned} == {(1, 4, len(position))}


def test_a_moving_sound_has_each_sound_at_its_position() -> None:
    constant = [torch.full((2, frames), value) for frames, value in ((9, 0.0), (5, 4.0), (3, 2.0))]
    moved = moving_morph(Stretched(constant))
    assert moved[0].tolist() == [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2]


def test_the_tempo_of_a_moving_sound_goes_from_the_first_to_the_last() -> None:
    # The second sound has each frame of the first one three times.
    first = torch.arange(30.0).expand(2, 30)
    found = warp(first, first.repeat_interleave(3, dim=1))
    moved = moving_morph(found)[0]
    speed = moved.diff()
    assert len(moved) == pytest.approx((30 + 90) / 2, abs=1)
    assert speed[:6].mean() == pytest.approx(1, rel=0.2)
    assert speed[-12:].mean() == pytest.approx(1 / 3, rel=0.2)


def test_equal_sounds_stay_as_they_are() -> None:
    sound = sounds_of((18,))[0]
    for align in ALIGNMENTS.values():
        for morph in morphs(align([sound, sound]), 2, 5):
            torch.testing.assert_close(morph.latents, sound)
        torch.testing.assert_close(moving_morph(align([sound, sound])), sound)
