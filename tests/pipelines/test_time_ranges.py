import pytest

from hf_audio_vae.pipelines.time_ranges import kept_frames, time_ranges


@pytest.mark.parametrize(
    ("start", "end", "replaced"),
    [
        (0.2, 0.4, [2, 3]),
        (0.26, 0.34, [2, 3]),  # a frame that is only partly in the range is replaced
        (0.21, 0.29, [2]),
        (0.0, 0.01, [0]),
        (0.3, 1.0, [3, 4, 5, 6, 7, 8, 9]),
        (0.7, 0.8, [7]),  # 0.7 * 10 is less than 7 and 0.8 * 10 more than 8 in some rounding
    ],
)
def test_every_frame_that_a_range_touches_is_replaced(start: float, end: float, replaced: list[int]) -> None:
    kept = kept_frames([(start, end)], 10, 10.0)
    assert (~kept).nonzero()[:, 0].tolist() == replaced


def test_several_ranges_are_replaced_and_none_keeps_all() -> None:
    assert kept_frames([(0.0, 0.1), (0.3, 0.4)], 5, 10.0).tolist() == [False, True, True, False, True]
    assert kept_frames([], 3, 10.0).all()


def test_a_range_may_end_exactly_at_the_end_but_not_after_it() -> None:
    assert time_ranges((0.5, 2.0), 2.0) == [(0.5, 2.0)]
    with pytest.raises(ValueError, match=r"`mask` holds \(0.5, 2.01\)"):
        time_ranges([(0.5, 2.01)], 2.0)
