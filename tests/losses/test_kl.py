import math

import pytest

from hf_audio_vae.losses import CosineAnnealing, CyclicalAnnealing, DelayedSchedule, LinearAnnealing

SCHEDULES = [
    LinearAnnealing(0.3, 100),
    CosineAnnealing(0.3, 100),
    CyclicalAnnealing(0.3, 100),
    CyclicalAnnealing(0.3, 100, ramp=1.0),
    CyclicalAnnealing(0.3, 100, ramp=0.01),
]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
class TestEverySchedule:
    def test_starts_at_zero(self, schedule):
        assert schedule(0) == 0

    def test_rises_inside_a_cycle(self, schedule):
        values = [schedule(step) for step in range(100)]
        assert values == sorted(values)
        assert values[-1] > values[0]

    def test_stays_between_zero_and_the_weight(self, schedule):
        assert all(0 <= schedule(step) <= 0.3 for step in range(350))

    def test_scales_with_the_weight(self, schedule):
        double = type(schedule)(**{**vars(schedule), "weight": 0.6})
        assert [double(step) for step in range(0, 300, 7)] == [2 * schedule(step) for step in range(0, 300, 7)]


@pytest.mark.parametrize("annealing", [LinearAnnealing, CosineAnnealing])
def test_the_weight_is_reached_and_kept(annealing):
    schedule = annealing(0.3, 100)
    assert schedule(99) < 0.3
    assert {schedule(step) for step in (100, 101, 1000, 10**9)} == {0.3}


def test_linear_annealing_rises_by_the_same_at_every_step():
    schedule = LinearAnnealing(2.0, 50)
    assert [schedule(step) for step in range(50)] == pytest.approx([2.0 * step / 50 for step in range(50)])


def test_cosine_annealing_is_half_a_cosine():
    schedule = CosineAnnealing(2.0, 60)
    assert schedule(20) == pytest.approx(0.5)
    assert schedule(30) == pytest.approx(1.0)
    assert schedule(40) == pytest.approx(1.5)
    for step in range(31):
        assert schedule(30 - step) + schedule(30 + step) == pytest.approx(2.0)
    # No kink: at both ends the first step is far smaller than the mean one.
    assert schedule(1) == pytest.approx(1 - math.cos(math.pi / 60))
    assert schedule(60) - schedule(59) == pytest.approx(schedule(1))


@pytest.mark.parametrize("ramp", [0.1, 0.5, 1.0])
def test_cyclical_annealing_repeats(ramp):
    schedule = CyclicalAnnealing(0.3, 40, ramp=ramp)
    cycle = [schedule(step) for step in range(40)]
    for cycles in (1, 2, 1000):
        assert [schedule(step + 40 * cycles) for step in range(40)] == cycle


def test_cyclical_annealing_rises_in_its_ramp_and_stays():
    schedule = CyclicalAnnealing(2.0, 40, ramp=0.25)
    assert [schedule(step) for step in range(11)] == pytest.approx([0.2 * step for step in range(11)])
    assert {schedule(step) for step in range(10, 40)} == {2.0}


@pytest.mark.parametrize("annealing", [LinearAnnealing, CosineAnnealing, CyclicalAnnealing])
@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(annealing, steps):
    with pytest.raises(ValueError, match=f"`steps` is {steps}"):
        annealing(1.0, steps)


@pytest.mark.parametrize("ramp", [0.0, -0.5, 1.01, math.nan])
def test_a_ramp_that_is_no_share_of_a_cycle_is_refused(ramp):
    with pytest.raises(ValueError, match="`ramp` is"):
        CyclicalAnnealing(1.0, 10, ramp=ramp)


def test_a_delayed_schedule_is_off_then_starts_from_its_start() -> None:
    cycles = CyclicalAnnealing(2.0, steps=10)
    schedule = DelayedSchedule(cycles, start_step=7)
    assert [schedule(step) for step in (0, 6, 7)] == [0.0, 0.0, 0.0]
    assert [schedule(7 + step) for step in range(25)] == [cycles(step) for step in range(25)]
    with pytest.raises(ValueError, match="`start_step` is -1"):
        DelayedSchedule(LinearAnnealing(1.0, 2), start_step=-1)
