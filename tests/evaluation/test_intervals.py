import pytest
import torch

from hf_audio_vae.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    paired_differences,
    ranking,
    student_interval,
    student_quantile,
)


def test_intervals_cover_the_true_mean_as_often_as_they_promise() -> None:
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(300, 40, generator=generator, dtype=torch.float64) + 3
    intervals = [bootstrap_interval(draw) for draw in draws]
    covered = sum(interval.low <= 3 <= interval.high for interval in intervals) / len(intervals)
    assert 0.89 < covered < 0.98  # the percentile interval of 40 items is a little too short


def test_the_width_of_an_interval_is_that_of_a_normal_mean() -> None:
    values = torch.randn(2000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    interval = bootstrap_interval(values)
    half = 1.96 * values.std().item() / 2000**0.5
    assert interval.high - interval.mean == pytest.approx(half, rel=0.08)  # three standard errors of the quantile
    assert interval.mean - interval.low == pytest.approx(half, rel=0.08)
    assert bootstrap_interval(values) == interval


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_no_values_have_no_interval(values: list[float]) -> None:
    with pytest.raises(ValueError, match="give one or more finite numbers"):
        bootstrap_interval(values)


def test_a_constant_difference_holds_however_much_items_vary() -> None:
    generator = torch.Generator().manual_seed(0)
    a = (10 * torch.randn(30, generator=generator)).tolist()
    b = [value + 0.1 for value in a]
    noisy = (10 * torch.randn(30, generator=generator)).tolist()
    differences = paired_differences({"a": a, "b": b, "noisy": noisy})
    assert differences["a", "b"].mean == pytest.approx(-0.1)
    assert differences["a", "b"].excludes_zero
    assert not differences["a", "noisy"].excludes_zero


def test_items_without_a_value_are_left_out_of_their_pairs() -> None:
    differences = paired_differences({"a": [1.0, None, 3.0], "b": [0.0, 5.0, 1.0], "c": [None, 1.0, None]})
    assert differences["a", "b"].mean == 1.5
    assert ("a", "c") not in differences
    assert differences["b", "c"].mean == 4.0


def test_a_ranking_says_what_holds() -> None:
    differences = {
        ("A", "B"): Interval(1.0, 0.5, 1.5),
        ("A", "C"): Interval(1.2, -0.1, 2.0),
        ("B", "C"): Interval(0.8, 0.5, 1.0),
    }
    assert ranking(["A", "B", "C"], differences, higher_is_better=True) == "A > B > C; but A ≈ C"
    assert ranking(["C", "B", "A"], differences, higher_is_better=False) == "C > B > A; but C ≈ A"
    assert ranking(["A", "C"], differences, higher_is_better=True) == "A ≈ C"
    gaps = {("A", "B"): Interval(0.1, -1, 1), ("B", "C"): Interval(0.1, -1, 1), ("A", "C"): Interval(0.2, 0.1, 0.3)}
    assert ranking(["A", "B", "C"], gaps, higher_is_better=True) == "A ≈ B ≈ C; but A > C"


@pytest.mark.parametrize(
    ("degrees", "expected"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (30, 2.04227)]
)
def test_quantiles_of_student_are_those_of_the_tables(degrees: int, expected: float) -> None:
    assert student_quantile(degrees) == pytest.approx(expected, rel=1e-5)


def test_intervals_of_three_normal_values_cover_their_mean_in_95_of_100_cases() -> None:
    draws = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    covered = [interval.low <= 1 <= interval.high for interval in map(student_interval, draws)]
    assert sum(covered) / len(covered) == pytest.approx(0.95, abs=0.015)  # three standard deviations of the share


def test_one_value_has_no_interval_of_student() -> None:
    with pytest.raises(ValueError, match="give two or more finite numbers"):
        student_interval([1.0])
