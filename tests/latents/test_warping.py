"""Dynamic time warping, against all paths of small sounds and copies whose timing is known."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch

from hf_audio_vae.latents import interpolate, stretch, warp
from hf_audio_vae.latents.warping import warping_path


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def smallest_cost(first: np.ndarray, second: np.ndarray) -> float:
    """The definition, cell by cell."""

    @cache
    def cost(i: int, j: int) -> float:
        own = float(np.linalg.norm(first[i] - second[j]))
        before = [(i - 1, j), (i, j - 1), (i - 1, j - 1)]
        return own + min((cost(*cell) for cell in before if min(cell) >= 0), default=0)

    return cost(len(first) - 1, len(second) - 1)


def check_path(path: np.ndarray, rows: int, columns: int) -> None:
    assert path[:, 0].tolist() == [0, 0]
    assert path[:, -1].tolist() == [rows - 1, columns - 1]
    steps = np.diff(path)
    assert ((steps == 0) | (steps == 1)).all()
    assert (steps.sum(axis=0) > 0).all()


@pytest.mark.parametrize("lengths", [(1, 1), (1, 6), (7, 1), (2, 2), (5, 9), (12, 4), (13, 13)])
def test_the_path_is_the_best_of_all(lengths: tuple[int, int]) -> None:
    for seed in range(5):
        first, second = (random(length, 3, seed=seed + 10 * n).numpy() for n, length in enumerate(lengths))
        path, cost = warping_path(first, second)
        check_path(path, *lengths)
        assert cost == pytest.approx(smallest_cost(first, second), rel=1e-6, abs=1e-9)
        assert cost == pytest.approx(np.linalg.norm(first[path[0]] - second[path[1]], axis=1).sum(), rel=1e-6)


def test_a_copy_with_held_frames_aligns_without_cost() -> None:
    sound, holds = random(8, 40), torch.randint(1, 5, (40,), generator=torch.Generator().manual_seed(0))
    found = warp(sound, sound.repeat_interleave(holds, dim=1))
    assert found.cost == 0
    assert torch.equal(found.path[0], torch.arange(40).repeat_interleave(holds))
    assert torch.equal(found.path[1], torch.arange(int(holds.sum())))


def test_a_stretched_copy_aligns_along_the_stretch() -> None:
    sound = random(8, 60).cumsum(dim=1)
    copy = stretch(sound, 119)
    found = warp(sound, copy)
    assert (found.path[1] - 2 * found.path[0]).abs().max() <= 1
    unrelated = warp(sound, random(8, 119, seed=1).cumsum(dim=1))
    assert found.cost < 0.2 * unrelated.cost


def test_equal_sounds_align_frame_by_frame() -> None:
    for sound in (random(4, 30), torch.zeros(4, 30)):
        assert torch.equal(warp(sound, sound).path, torch.arange(30).expand(2, 30))


@pytest.mark.parametrize("lengths", [(30, 30), (50, 20), (1, 9), (9, 1), (2, 40), (64, 65)])
def test_a_band_has_a_whole_path_of_at_least_the_smallest_cost(lengths: tuple[int, int]) -> None:
    first, second = (random(length, 3, seed=n).numpy() for n, length in enumerate(lengths))
    whole = warping_path(first, second)[1]
    costs = []
    for cells in (1, 300, 500, 10**6):
        path, cost = warping_path(first, second, max_cells=cells)
        check_path(path, *lengths)
        assert cost == pytest.approx(np.linalg.norm(first[path[0]] - second[path[1]], axis=1).sum(), rel=1e-6)
        costs.append(cost)
    assert all(narrow >= wide - 1e-9 for narrow, wide in pairwise(costs))
    assert costs[-1] == whole


def test_a_narrow_band_stays_beside_the_straight_line() -> None:
    first, second = random(200, 3).numpy(), random(100, 3, seed=1).numpy()
    path, _ = warping_path(first, second, max_cells=1)
    assert np.abs(path[0] - path.sum(axis=0) * 199 / 298).max() <= 1
    wide, _ = warping_path(first, second)
    assert np.abs(wide[0] - wide.sum(axis=0) * 199 / 298).max() > 1


@pytest.mark.parametrize("lengths", [(17, 40), (40, 17), (1, 5), (5, 1), (12, 12)])
def test_each_end_is_bit_equal_in_its_own_timing(lengths: tuple[int, int]) -> None:
    first, second = (random(4, length, seed=n) for n, length in enumerate(lengths))
    found = warp(first, second)
    assert torch.equal(interpolate(*found.at(0), 0), first)
    assert torch.equal(interpolate(*found.at(1), 1), second)
    for weight in (0.2, 0.5, 0.9):
        frames = round((1 - weight) * lengths[0] + weight * lengths[1])
        assert [aligned.shape for aligned in found.at(weight)] == [(4, frames)] * 2


def test_the_time_of_an_event_is_interpolated() -> None:
    # One loud frame, at 10 of 40 frames and at 50 of 60.
    early, late = torch.zeros(2, 40), torch.zeros(2, 60)
    early[:, 10], late[:, 50] = 1, 1
    found = warp(early, late)
    for weight, expected in ((0.0, 10), (0.25, 20), (0.5, 30), (0.75, 40), (1.0, 50)):
        between = interpolate(*found.at(weight), weight)
        assert abs(int(between[0].argmax()) - expected) <= 1
        assert between.max() > 0.5  # both events meet there


def test_a_third_sound_is_aligned_with_the_second() -> None:
    sounds = [random(3, frames, seed=frames) for frames in (15, 22, 9)]
    together = warp(*sounds)
    pairs = [warp(*sounds[leg : leg + 2]) for leg in (0, 1)]
    assert together.cost == pytest.approx(sum(pair.cost for pair in pairs))
    assert together.path[:, 0].tolist() == [0, 0, 0]
    assert together.path[:, -1].tolist() == [14, 21, 8]
    assert ((together.path.diff() == 0) | (together.path.diff() == 1)).all()
    for leg, pair in enumerate(pairs):
        assert {tuple(cell) for cell in together.path[leg : leg + 2].T.tolist()} == {
            tuple(cell) for cell in pair.path.T.tolist()
        }
        for weight in (0.0, 0.4, 1.0):
            both = zip(together.at(weight, leg), pair.at(weight), strict=True)
            for ours, theirs in both:
                torch.testing.assert_close(ours, theirs)


def test_wrong_latents_and_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 0\); give finite"):
        warp(torch.zeros(2, 0), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="give finite"):
        warp(torch.full((2, 3), torch.nan), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4, 3\); the sounds may differ in their length only"):
        warp(torch.zeros(2, 3), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"`weight` is -0\.1"):
        warp(torch.zeros(2, 3), torch.zeros(2, 3)).at(-0.1)
