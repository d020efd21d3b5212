"""Statistics of the mel spectrogram as an embedding: full band, without a network."""

import math

import torch
from torch import Tensor

from hf_audio_vae.audio.spectra import Spectra
from hf_audio_vae.audio.spectrogram import hann_window, mel_filters

N_MELS = 64
WINDOW_SECONDS = 0.046  # 2048 samples at 44.1 kHz
SEGMENT_SECONDS = 0.5
LOWEST_DB = -90.0


class LogMelEmbedding:
    """Mean and standard deviation of levels in 64 mel bands, over segments of half a second.

    Levels are in dB relative to a full-scale sine, at least -90, of the mean of the channels. Bands reach from 0 to
    half the sampling rate. Windows have the power of two nearest to 46 ms, and a hop of a quarter.

    It measures timbre, level and their fluctuation, up to the highest frequency. It ignores phase, stereo, and
    structure longer than a segment.

    Args:
        sampling_rate (`int`): Rate of the clips in Hz.

    Raises:
        ValueError: The rate is so low that a band has no bin of the spectrum.

    Example:
        >>> embedding = LogMelEmbedding(sampling_rate=44100)
        >>> embedding(torch.randn(2, 5 * 44100)).shape  # (segments, means and standard deviations)
        torch.Size([10, 128])
    """

    name = "log_mel"

    def __init__(self, sampling_rate: int) -> None:
        self.sampling_rate = sampling_rate
        self._window_length = 2 ** max(2, round(math.log2(WINDOW_SECONDS * sampling_rate)))
        if not bool(mel_filters(N_MELS, self._window_length, sampling_rate).any(dim=1).all()):
            raise ValueError(
                f"`sampling_rate` is {sampling_rate} Hz, at which some of the {N_MELS} bands of {self.name} are "
                f"empty; give 2000 or more, or leave out this embedding."
            )
        self._segment_frames = round(SEGMENT_SECONDS * sampling_rate / (self._window_length // 4))

    def __call__(self, waveform: Tensor) -> Tensor:
        """(audio_channels, time) -> (segments, 128); a rest is left out unless the clip is shorter than a segment."""
        levels = self._levels(waveform.cpu().mean(dim=0))  # (mels, frames)
        frames = min(self._segment_frames, levels.shape[1])
        segments = levels.unfold(1, frames, frames)  # (mels, segments, frames)
        return torch.cat((segments.mean(dim=2), segments.std(dim=2, correction=0))).T

    def _levels(self, waveform: Tensor) -> Tensor:
        """(time,) -> (mels, frames) in dB."""
        filters = mel_filters(N_MELS, self._window_length, self.sampling_rate)
        filters = filters / filters.sum(dim=1, keepdim=True)
        full_scale = hann_window(self._window_length).sum() / 2  # magnitude of a sine of amplitude 1
        power = (Spectra(waveform[None, None]).stft(self._window_length)[0, 0].abs() / full_scale).square()
        return 10 * (filters @ power).clamp(min=10 ** (LOWEST_DB / 10)).log10()
