"""Sounds that differ from each other in pitch, bandwidth, level and rhythm."""

import math

import torch
from torch import Tensor

SECONDS = 1.0
LEVEL = 0.1  # root mean square of the loudest ones
FLOOR = 1e-3  # of noise in all of them: levels of empty bands, far below any sound, would outweigh all others


def sounds_for(sampling_rate: int, audio_channels: int) -> list[Tensor]:
    """Return waveforms (audio_channels, time), the same in all channels; frequencies are below a third of the rate.

    Args:
        sampling_rate (`int`): In Hz.
        audio_channels (`int`): Channels.
    """
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(round(SECONDS * sampling_rate)) / sampling_rate  # (time,)
    noise = torch.randn(len(time), generator=generator)
    highest = sampling_rate / 3
    pulses = (time * 6 % 1 * -40).exp()  # six decays per second
    sounds = [
        _tone(time, 110.0, highest),
        _tone(time, 110.0 * (1 + time), highest) * pulses,
        _band(noise, 0.0, 0.03),
        _band(noise, 0.15, 0.33) * pulses,
        0.05 * _band(noise, 0.0, 0.33),
    ]
    loudest = float(sounds[0].square().mean().sqrt())
    floor = FLOOR * torch.randn(len(time), generator=generator)
    return [(LEVEL / loudest * sound + floor).expand(audio_channels, -1).contiguous() for sound in sounds]


def _tone(time: Tensor, frequency: float | Tensor, highest: float) -> Tensor:
    """Sum of harmonics with amplitudes 1 / n; the pitch may glide."""
    step = time[1] - time[0]
    pitch = torch.as_tensor(frequency).expand(len(time))
    phase = 2 * math.pi * (pitch * step).cumsum(dim=0)
    count = max(1, int(highest / float(pitch.max())))
    return sum(((n * phase).sin() / n for n in range(1, count + 1)), torch.zeros(len(time)))


def _band(noise: Tensor, low: float, high: float) -> Tensor:
    """Noise between two frequencies in units of the sampling rate, of variance 1."""
    spectrum = torch.fft.rfft(noise)
    position = torch.linspace(0, 0.5, len(spectrum))
    band = torch.fft.irfft(spectrum * ((position >= low) & (position < high)), n=len(noise))
    return band / band.std()
