"""Sound files as a model reads them: its sampling rate and channels, complete, finite samples."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from hf_audio_vae.audio import AudioDecodeError, convert_channels, open_audio
from hf_audio_vae.audio.downmix import noticing_cancellation
from hf_audio_vae.audio.io import AudioReader, check_peak
from hf_audio_vae.audio.resampling import ResampledReader, check_rates
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin


class UnusableFileError(ValueError):
    """One of several files cannot be used; the others can."""


def check_finite(name: str | Path, *values: Tensor) -> None:
    """Check the output of a model; raises `UnusableFileError`."""
    if not all(bool(torch.isfinite(value).all()) for value in values):
        raise UnusableFileError(f"{name}: the model's output is NaN or infinite; check the weights of the model.")


class Sound:
    """A file at the sampling rate and with the channels of a model.

    Attributes:
        num_samples (`int`): Samples per channel.
        peak (`float`): Largest magnitude read so far.
    """

    def __init__(self, path: Path, reader: AudioReader, model: AudioAutoencoderMixin) -> None:
        self._path, rate = path, model.sampling_rate
        self._reader = ResampledReader(reader, sampling_rate=rate, audio_channels=model.config.audio_channels)
        # As the resampler rounds.
        self.num_samples = (2 * reader.num_samples * rate + reader.sampling_rate) // (2 * reader.sampling_rate)
        self.peak = 0.0

    def read(self, start: int, stop: int) -> Tensor:
        """Return these samples, (audio_channels, stop - start); raises `UnusableFileError`."""
        with errors_with_path(self._path):
            waveform = self._reader.read(start, stop)
        if waveform.shape[-1] < stop - start:
            missing = stop - start - waveform.shape[-1]
            raise UnusableFileError(
                f"{self._path} is incomplete: it ends {missing} samples early; use an intact copy."
            )
        if not bool(torch.isfinite(waveform).all()):
            raise UnusableFileError(f"{self._path} has NaN or infinite samples; repair it, or leave it out.")
        self.peak = max(self.peak, float(waveform.abs().max()))
        with errors_with_path(self._path):
            check_peak(self.peak)
        return waveform


@contextmanager
def open_sound(
    model: AudioAutoencoderMixin, path: Path, *, name: str, notice: Callable[[str], object]
) -> Iterator[Sound]:
    """Open a file for a model.

    Args:
        model (`AudioAutoencoderMixin`): Model with the sampling rate and the channels to convert to.
        path (`Path`): File.
        name (`str`): Name of the file in messages.
        notice (`Callable`): Called with a line for each conversion, and for a peak beyond full scale.

    Raises:
        UnusableFileError: The file cannot be opened or decoded, is incomplete, or its channels cannot be converted.
    """
    rate, channels = model.sampling_rate, model.config.audio_channels
    with ExitStack() as stack:
        with errors_with_path(path):
            reader = stack.enter_context(open_audio(path, thorough=True))
            convert_channels(torch.zeros(reader.audio_channels, 1), channels)
            check_rates(reader.sampling_rate, rate)
        reader = stack.enter_context(noticing_cancellation(reader, channels, lambda: name))
        sound = Sound(path, reader, model)
        if sound.num_samples < 1:
            raise UnusableFileError(f"{path} is shorter than one sample at the model's rate, {rate} Hz.")
        if reader.audio_channels != channels:
            method = "mean" if channels == 1 else "copied to each"
            notice(f"{name}: {reader.audio_channels} channels -> {channels} ({method})")
        if reader.sampling_rate != rate:
            notice(f"{name}: {reader.sampling_rate} Hz -> {rate} Hz")
        yield sound
        if sound.peak > 1.005:  # rounds to more than 1
            changed = " after resampling" if reader.sampling_rate != rate else ""
            notice(f"{name}: the peak is {sound.peak:.2f}{changed}, beyond full scale; it is not clipped")


@contextmanager
def errors_with_path(path: Path) -> Iterator[None]:
    """Turn errors about the content of a file into `UnusableFileError` with its name."""
    try:
        yield
    except AudioDecodeError as error:
        raise UnusableFileError(f"{path}: {error}") from error
    except (ValueError, OSError) as error:
        message = str(error)
        raise UnusableFileError(message if str(path) in message else f"{path}: {message}") from error
