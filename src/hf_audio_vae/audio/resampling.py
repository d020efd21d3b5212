import math

import soxr
import torch
from torch import Tensor

from hf_audio_vae.audio.io import AudioReader

# Samples of the lower rate read around a crop. From 128 on, crops match the resampled whole file within 4e-7.
FILTER_REACH = 256
SOURCE_BLOCK = 1 << 16  # samples that `ResampledReader` reads at a time
MAX_UPSAMPLING = 100  # of a file; a file of a lower rate is no sound, or its header is wrong


def resample(waveform: Tensor, orig_rate: int, new_rate: int) -> Tensor:
    """Change the sampling rate with soxr's band-limited filter ("HQ": 20 bit precision).

    Args:
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): Samples at `orig_rate`.
        orig_rate (`int`): Current rate in Hz.
        new_rate (`int`): Target rate in Hz.

    Returns:
        `torch.Tensor` of shape `(audio_channels, round(time * new_rate / orig_rate))`, float32.

    Example:
        >>> resample(torch.zeros(2, 44100), 44100, 16000).shape
        torch.Size([2, 16000])
    """
    if orig_rate == new_rate:
        return waveform
    resampled = torch.from_numpy(soxr.resample(waveform.float().cpu().numpy().T, orig_rate, new_rate, quality="HQ"))
    return resampled.T.contiguous()  # (time, channels) -> (channels, time)


def convert_channels(waveform: Tensor, audio_channels: int) -> Tensor:
    """Change the number of channels: average them to mono, or copy mono to each channel.

    Args:
        waveform (`torch.Tensor` of shape `(channels, time)`): Samples.
        audio_channels (`int`): Target number of channels.

    Returns:
        `torch.Tensor` of shape `(audio_channels, time)`.

    Raises:
        ValueError: The counts differ and neither is 1: the meaning of the channels is unknown.
    """
    channels = waveform.shape[0]
    if channels == audio_channels:
        return waveform
    if audio_channels == 1:
        return waveform.mean(dim=0, keepdim=True)
    if channels == 1:
        return waveform.expand(audio_channels, -1).contiguous()
    raise ValueError(
        f"the audio has {channels} channels, but {audio_channels} are required, and its layout is unknown; mix the "
        f"channels first, or use a model with 1 or {channels} channels."
    )


def check_rates(file_rate: int, sampling_rate: int) -> None:
    """Raise `ValueError` if the rate of a file is less than 1/100 of the rate that it is to be resampled to."""
    if sampling_rate > MAX_UPSAMPLING * file_rate:
        raise ValueError(
            f"the audio has a sampling rate of {file_rate} Hz, less than 1/{MAX_UPSAMPLING} of {sampling_rate} Hz; "
            f"correct the rate in its header, or leave it out."
        )


def read_crop(reader: AudioReader, start: int, count: int, *, sampling_rate: int, audio_channels: int) -> Tensor:
    """Read a crop at another rate and channel count, decoding only the part of the file that it depends on.

    Equal to resampling the whole file and slicing, up to the filter's precision.

    Args:
        reader (`AudioReader`): An opened file.
        start (`int`): First sample, counted at `sampling_rate`.
        count (`int`): Number of samples at `sampling_rate`.
        sampling_rate (`int`): Target rate in Hz.
        audio_channels (`int`): Target number of channels, see `convert_channels`.

    Returns:
        `torch.Tensor` of shape `(audio_channels, time)`: `time` is `count`, or less if the file ends earlier.

    Raises:
        ValueError: The channels cannot be converted, or the rate of the file is too low, see `check_rates`.
    """
    check_rates(reader.sampling_rate, sampling_rate)
    if reader.sampling_rate == sampling_rate:
        return convert_channels(reader.read(start, count), audio_channels)
    divisor = math.gcd(reader.sampling_rate, sampling_rate)
    source_step, step = reader.sampling_rate // divisor, sampling_rate // divisor  # period of both grids
    margin = math.ceil(FILTER_REACH / min(source_step, step))  # the filter's reach in these periods
    first = max(start // step - margin, 0)
    last = -(-(start + count) // step) + margin
    source = reader.read(first * source_step, (last - first) * source_step)
    resampled = resample(convert_channels(source, audio_channels), reader.sampling_rate, sampling_rate)
    return resampled[:, start - first * step :][:, :count]


def resampled_length(reader: AudioReader, sampling_rate: int) -> int:
    """Samples per channel of the file at another rate, rounded down."""
    return reader.num_samples * sampling_rate // reader.sampling_rate


class ResampledReader:
    """A file at another rate and channel count: for reads of any length, the samples of the resampled whole file.

    The filter keeps its state between reads, so the samples are equal to the last bit. `read_crop` decodes less for
    a single crop, but rounds it differently, and a network may enlarge that.

    Args:
        reader (`AudioReader`): An opened file.
        sampling_rate (`int`): Target rate in Hz.
        audio_channels (`int`): Target number of channels, see `convert_channels`.

    Raises:
        ValueError: The rate of the file is too low, see `check_rates`.
    """

    _blocks: list[Tensor]
    _first: int  # sample of the blocks
    _last: int

    def __init__(self, reader: AudioReader, *, sampling_rate: int, audio_channels: int) -> None:
        check_rates(reader.sampling_rate, sampling_rate)
        self._reader, self._sampling_rate, self._audio_channels = reader, sampling_rate, audio_channels
        self._begin()

    def read(self, start: int, stop: int) -> Tensor:
        """Return the samples from `start` to `stop`, (audio_channels, time); fewer if the file ends earlier.

        A read that starts before the last one may decode the file from its beginning.
        """
        if self._reader.sampling_rate == self._sampling_rate:
            return convert_channels(self._reader.read(start, stop - start), self._audio_channels)
        if start < self._first:
            self._begin()
        while self._last < stop and not self._ended:
            self._append_block()
            while self._blocks and self._first + self._blocks[0].shape[-1] <= start:
                self._first += self._blocks.pop(0).shape[-1]
        kept = torch.cat([torch.empty(self._audio_channels, 0), *self._blocks], dim=-1)
        self._blocks = [kept]
        return kept[:, start - self._first : stop - self._first].clone()

    def _begin(self) -> None:
        self._position, self._ended = 0, False  # in the file
        self._blocks, self._first, self._last = [], 0, 0
        self._resampler = soxr.ResampleStream(
            self._reader.sampling_rate, self._sampling_rate, self._audio_channels, dtype="float32", quality="HQ"
        )

    def _append_block(self) -> None:
        source = self._reader.read(self._position, SOURCE_BLOCK)
        self._position += source.shape[-1]
        self._ended = source.shape[-1] < SOURCE_BLOCK or self._position >= self._reader.num_samples
        samples = convert_channels(source, self._audio_channels).float().T.contiguous().numpy()  # (time, channels)
        block = torch.from_numpy(self._resampler.resample_chunk(samples, last=self._ended)).T
        self._blocks.append(block)
        self._last += block.shape[-1]
