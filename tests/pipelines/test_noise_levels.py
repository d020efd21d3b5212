import pytest
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler

from hf_audio_vae.pipelines.noise_levels import NoiseLevels


@pytest.mark.parametrize(
    ("strength", "steps", "expected"),
    [(1.0, 5, 5), (0.5, 4, 2), (0.5, 5, 3), (0.26, 4, 2), (0.25, 4, 1), (0.01, 4, 1), (0.99, 4, 4)],
)
def test_a_strength_between_two_numbers_of_steps_is_rounded_up(strength, steps, expected):
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(steps)
    timesteps = NoiseLevels(scheduler).timesteps(strength)
    assert timesteps.tolist() == scheduler.timesteps[steps - expected :].tolist()


def test_a_step_of_second_order_has_all_of_its_timesteps():
    scheduler = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(4)  # two timesteps a step, but one for the last
    assert [len(NoiseLevels(scheduler).timesteps(strength)) for strength in (0.25, 0.5, 1.0)] == [1, 3, 7]


def test_the_last_timesteps_have_the_least_noise():
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(10)
    levels = NoiseLevels(scheduler)
    times = [levels.time(timestep).item() for timestep in levels.timesteps(1.0)]
    assert times[0] == 1.0
    assert times == sorted(times, reverse=True)
