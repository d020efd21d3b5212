"""Transformations of latents and of sound that belong together."""

import pytest
import torch

from hf_audio_vae.latents.transformations import Chain, Gain, Mix, Shift

HOP = 8
TIME = 6 * HOP


def moving_average(x: torch.Tensor) -> torch.Tensor:
    """A linear encoder: the mean of each frame, (batch, channels, time) -> (batch, channels, frames)."""
    return x.unflatten(-1, (-1, HOP)).mean(dim=-1)


@pytest.fixture
def waveform() -> torch.Tensor:
    return torch.randn(3, 2, TIME, generator=torch.Generator().manual_seed(0))


def test_a_linear_encoder_makes_both_changes_equal(waveform: torch.Tensor) -> None:
    change = Chain([Mix(torch.tensor([1, 2, 0]), torch.tensor([1.0, 0.0, 0.5])), Gain(torch.tensor([0.5, -1.0, 2.0]))])
    torch.testing.assert_close(change.latents(moving_average(waveform)), moving_average(change.waveform(waveform)))
    torch.testing.assert_close(change.waveform(waveform)[1], -waveform[1])  # its partner has the factor 0


def test_a_ramp_is_shifted_by_the_same_time_in_latents_and_sound() -> None:
    ramp = torch.arange(TIME, dtype=torch.float32).expand(4, 1, -1)
    shift = Shift(torch.tensor([0, 3, 5, HOP]), HOP)
    torch.testing.assert_close(shift.latents(moving_average(ramp)), moving_average(shift.waveform(ramp)))
    assert shift.waveform(ramp)[:, 0, 0].tolist() == [
        HOP,
        HOP - 3,
        HOP - 5,
        0,
    ]  # the start is a frame late


def test_a_sum_and_a_gain_are_taken_in_order(waveform: torch.Tensor) -> None:
    mix, gain = Mix(torch.tensor([1, 2, 0]), torch.ones(3)), Gain(torch.tensor([2.0, 1.0, 1.0]))
    first = Chain([mix, gain]).waveform(waveform)[0]
    other = Chain([gain, mix]).waveform(waveform)[0]
    torch.testing.assert_close(first - other, waveform[1])


def test_a_single_frame_cannot_be_shifted() -> None:
    with pytest.raises(ValueError, match="2 frames or more"):
        Shift(torch.tensor([1]), HOP).latents(torch.zeros(1, 2, 1))
