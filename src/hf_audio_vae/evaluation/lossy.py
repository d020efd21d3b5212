"""Opus as a baseline: a waveform coded and decoded at a given bitrate."""

import io
from dataclasses import dataclass

import soundfile
import torch
from torch import Tensor

LOWEST, HIGHEST = 6000, 256000  # bits per second and channel, at libsndfile's compression levels 1 and 0
SAMPLING_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz, RFC 6716 section 2


@dataclass(frozen=True)
class Lossy:
    """A decoded waveform (audio_channels, time), and bits per second without the file's headers."""

    waveform: Tensor
    bits_per_second: float


def opus(waveform: Tensor, sampling_rate: int, bits_per_second: int) -> Lossy:
    """Code a waveform with libopus and decode it.

    Args:
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): Signal, any time >= 1; values beyond [-1, 1] are
            clipped.
        sampling_rate (`int`): One of `SAMPLING_RATES`, in Hz.
        bits_per_second (`int`): Target bitrate of each channel. The real one is measured from the bytes.

    Raises:
        ValueError: The rate or the bitrate is out of range.
    """
    if sampling_rate not in SAMPLING_RATES:
        raise ValueError(f"Opus has no sampling rate of {sampling_rate} Hz; resample to one of {SAMPLING_RATES}.")
    if not LOWEST <= bits_per_second <= HIGHEST:
        raise ValueError(f"`bits_per_second` is {bits_per_second}; use {LOWEST} to {HIGHEST} a channel.")
    level = (HIGHEST - bits_per_second) / (HIGHEST - LOWEST)
    whole, headers = (_encoded(part, sampling_rate, level) for part in (waveform, waveform[:, :0]))
    decoded, _ = soundfile.read(io.BytesIO(whole), dtype="float32", always_2d=True)
    rate = 8 * (len(whole) - len(headers)) * sampling_rate / waveform.shape[-1]
    return Lossy(torch.from_numpy(decoded.T.copy())[:, : waveform.shape[-1]], rate)


def _encoded(waveform: Tensor, sampling_rate: int, level: float) -> bytes:
    file, samples = io.BytesIO(), waveform.clamp(-1, 1).T.numpy()
    soundfile.write(file, samples, sampling_rate, format="OGG", subtype="OPUS", compression_level=level)
    return file.getvalue()
