"""Encoded audio in, any stretch of it out as float32 (audio_channels, time); waveforms in, files out."""

import importlib.util
import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile
import torch
from torch import Tensor

# Vorbis frames overlap, and libsndfile's seek to a place near a page's end does not always decode the frame before it:
# starting this many samples early makes every seek agree with decoding from the start.
VORBIS_PREROLL = 8192


class AudioDecodeError(ValueError):
    """The bytes are not audio that can be decoded here."""


class AudioReader(Protocol):
    """An opened audio file.

    Attributes:
        sampling_rate (`int`): Samples a second, in Hz.
        audio_channels (`int`): Channels in the file.
        num_samples (`int`): Samples a channel.
    """

    sampling_rate: int
    audio_channels: int
    num_samples: int

    def read(self, start: int, count: int) -> Tensor:
        """Return samples [start, start + count) as (audio_channels, time), fewer where the file ends before."""

    def close(self) -> None:
        """Release the decoder."""


@contextmanager
def open_audio(source: str | Path | bytes) -> Iterator[AudioReader]:
    """Open encoded audio for reading, decoding only what is asked for where the format allows seeking.

    soundfile reads wav, flac, ogg, opus, mp3 and more; what it does not know goes to torchcodec, if that is installed.

    Args:
        source (`str`, `Path` or `bytes`): A path, a URL that fsspec opens (`hf://`, `https://`, `zip://a::b`), or the
            encoded bytes.

    Yields:
        `AudioReader`: `sampling_rate`, `audio_channels`, `num_samples` and `read(start, count)`.

    Raises:
        AudioDecodeError: Neither library can decode it, or it holds no samples.
        OSError: The file cannot be opened.
    """
    with _open_binary(source) as stream:
        try:
            with closing(_open_reader(stream)) as reader:
                if reader.num_samples < 1 or reader.sampling_rate < 1:
                    raise AudioDecodeError("the file holds no samples.")
                yield reader
        except soundfile.LibsndfileError as error:
            raise AudioDecodeError(f"cannot be decoded: {error}") from error


def read_audio(source: str | Path | bytes) -> tuple[Tensor, int]:
    """Decode a whole file: ((audio_channels, time) float32, sampling rate in Hz). Raises as `open_audio`."""
    with open_audio(source) as reader:
        return reader.read(0, reader.num_samples), reader.sampling_rate


def write_audio(path: str | Path, waveform: Tensor, sampling_rate: int) -> None:
    """Write (audio_channels, time) in the format of the path's ending; wav keeps float32, so nothing is clipped."""
    path = Path(path)
    subtype = "FLOAT" if path.suffix.lower() == ".wav" else None
    soundfile.write(path, waveform.detach().float().cpu().numpy().T, sampling_rate, subtype=subtype)


def _open_binary(source: str | Path | bytes) -> BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if "://" in str(source):
        import fsspec

        return fsspec.open(str(source), "rb").open()
    return open(source, "rb")


def _open_reader(stream: BinaryIO) -> AudioReader:
    try:
        return _SoundFileReader(stream)
    except soundfile.LibsndfileError:
        if importlib.util.find_spec("torchcodec") is None:
            raise
    stream.seek(0)
    return _TorchcodecReader(stream)


class _SoundFileReader:
    def __init__(self, stream: BinaryIO) -> None:
        self._file = soundfile.SoundFile(stream)
        self._preroll = VORBIS_PREROLL if self._file.subtype == "VORBIS" else 0
        self.sampling_rate = self._file.samplerate
        self.audio_channels = self._file.channels
        self.num_samples = self._file.frames

    def read(self, start: int, count: int) -> Tensor:
        skipped = min(start, self._preroll)
        self._file.seek(start - skipped)
        samples = self._file.read(skipped + count, dtype="float32", always_2d=True)[skipped:]
        return torch.from_numpy(np.ascontiguousarray(samples.T))  # (time, channels) -> (channels, time)

    def close(self) -> None:
        self._file.close()


class _TorchcodecReader:
    def __init__(self, stream: BinaryIO) -> None:
        from torchcodec.decoders import AudioDecoder

        try:
            self._decoder = AudioDecoder(stream.read())
        except (RuntimeError, ValueError) as error:
            raise AudioDecodeError(f"cannot be decoded: {error}") from error
        metadata = self._decoder.metadata
        self.sampling_rate = metadata.sample_rate or 0
        self.audio_channels = metadata.num_channels or 0
        self.num_samples = round((metadata.duration_seconds or 0) * self.sampling_rate)

    def read(self, start: int, count: int) -> Tensor:
        # Rounding by half a sample keeps the range from gaining or losing one at either end.
        first = max(start - 0.5, 0) / self.sampling_rate
        last = (start + count - 0.5) / self.sampling_rate
        return self._decoder.get_samples_played_in_range(first, last).data[:, :count]

    def close(self) -> None:
        del self._decoder
