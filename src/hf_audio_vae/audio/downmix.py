"""Notice channels that cancel each other in their mean, such as stereo in anti-phase."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from hf_audio_vae.audio.io import AudioReader

logger = logging.getLogger(__name__)
CANCELLED = 1e-6  # energy of the mean relative to that of a channel: -60 dB


@contextmanager
def noticing_cancellation(reader: AudioReader, audio_channels: int, name: Callable[[], str]) -> Iterator[AudioReader]:
    """Yield a reader; warn at the end of the block if the mean of the channels is silent and the channels are not.

    Args:
        reader (`AudioReader`): An opened file.
        audio_channels (`int`): Channels that the samples are converted to; only 1 averages them.
        name (`Callable`): Returns the name of the file for the warning, which is given once for each name.
    """
    if audio_channels != 1 or reader.audio_channels == 1:
        yield reader
        return
    measured = _MeasuredReader(reader)
    yield measured
    if measured.mean_energy < CANCELLED * measured.energy:
        _warn(name(), reader.audio_channels)


@functools.cache  # once for each file, which a training opens many times
def _warn(name: str, channels: int) -> None:
    logger.warning(
        "%s: its %d channels cancel, and their mean is more than 60 dB below them; invert the phase of one.",
        name,
        channels,
    )


class _MeasuredReader:
    def __init__(self, reader: AudioReader) -> None:
        self._reader = reader
        self.sampling_rate, self.audio_channels = reader.sampling_rate, reader.audio_channels
        self.num_samples = reader.num_samples
        self.energy = self.mean_energy = 0.0  # of a channel on average, and of the mean of the channels

    def read(self, start: int, count: int) -> Tensor:
        waveform = self._reader.read(start, count)
        self.energy += float(waveform.square().mean(dim=0).sum())
        self.mean_energy += float(waveform.mean(dim=0).square().sum())
        return waveform

    def close(self) -> None:
        self._reader.close()
