"""Read any part of encoded audio as float32 (audio_channels, time), and write waveforms to files."""

import functools
import importlib.util
import io
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile
import torch
from torch import Tensor

from hf_audio_vae.audio.completeness import lacks_end_mark, missing_part
from hf_audio_vae.audio.sequences import following_stream
from hf_audio_vae.audio.unset_lengths import lacks_sample, with_length
from hf_audio_vae.files import check_regular_file, replacing

logger = logging.getLogger(__name__)

HIGHEST_PEAK = 2.0**31  # of samples of 32 bits that were not scaled; powers of much larger values are infinite

# Samples decoded before the requested ones, by encoding: Vorbis frames overlap, mp3 frames use bits of earlier frames.
PREROLL = {"VORBIS": 8192, "MPEG_LAYER_III": 8192}
# libsndfile miscomputes the start of the last Ogg page of a Vorbis file, so a read near the end starts before that
# page. It holds at most 255 blocks, usually of 1024 samples.
VORBIS_LAST_PAGE = 255 * 1024 + 8192
WRITE_BLOCK = 1 << 16
READ_BLOCK = 1 << 20  # a false length in a header must not allocate memory
HIGHEST_RATES = {".flac": 655350, ".ogg": 200000}  # of FLAC and Vorbis in Hz
FLAC_WHOLE_RATES = 65535
LONGEST_WAV = 2**32 - 2**16  # bytes of samples
TORCHCODEC_SIGNATURES = (b"\xff\xf1", b"\xff\xf9", b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75")  # AAC, WebM, WMA


class AudioDecodeError(ValueError):
    """The bytes cannot be decoded as audio."""


class AudioReader(Protocol):
    """An opened audio file.

    Attributes:
        sampling_rate (`int`): Sampling rate in Hz.
        audio_channels (`int`): Channels in the file.
        num_samples (`int`): Samples per channel.
    """

    sampling_rate: int
    audio_channels: int
    num_samples: int

    def read(self, start: int, count: int) -> Tensor:
        """Return samples [start, start + count) as (audio_channels, time), fewer if the file ends earlier."""

    def close(self) -> None:
        """Release the decoder."""


@contextmanager
def open_audio(source: str | Path | bytes, *, thorough: bool = False) -> Iterator[AudioReader]:
    """Open encoded audio for reading; only the requested samples are decoded if the format allows seeking.

    soundfile reads wav, flac, ogg, opus, mp3 and more; torchcodec, if installed, reads the other formats. A file that
    was cut is refused; see `missing_part` for its signs. An Ogg stream whose pages are whole but which has no end mark
    is read, with a warning. Values beyond full scale are kept.

    Args:
        source (`str`, `Path` or `bytes`): A path, a URL that fsspec opens (`hf://`, `https://`, `zip://a::b`), or the
            encoded bytes.
        thorough (`bool`): Also look for damage between the start and the end, which reads all of the source.

    Yields:
        `AudioReader`: `sampling_rate`, `audio_channels`, `num_samples` and `read(start, count)`.

    Raises:
        AudioDecodeError: Neither library can decode it, it is incomplete, it holds several streams in sequence, or no
            samples.
        OSError: The file cannot be opened, or is no regular file.
    """
    with open_binary(source) as stream:
        if fault := missing_part(stream, thorough=thorough):
            raise AudioDecodeError(f"the audio is incomplete: {fault}; use an intact copy, or re-encode the rest.")
        if (position := following_stream(stream, thorough=thorough)) is not None:
            raise AudioDecodeError(
                f"another stream follows at byte {position}, and only the first can be decoded; split the file, or "
                f"re-encode it as one stream."
            )
        if lacks_end_mark(stream):
            _warn_of_open_end("an Ogg stream" if isinstance(source, bytes) else str(source))
        try:
            with closing(_open_reader(stream)) as reader:
                if reader.num_samples < 1 or reader.sampling_rate < 1:
                    raise AudioDecodeError("the audio has no samples; leave it out.")
                yield reader
        except soundfile.LibsndfileError as error:
            raise _undecodable(error) from error


def read_audio(source: str | Path | bytes) -> tuple[Tensor, int]:
    """Decode a whole file: ((audio_channels, time) float32, sampling rate in Hz). Errors are those of `open_audio`."""
    with open_audio(source, thorough=True) as reader:
        waveform = reader.read(0, reader.num_samples)
        if waveform.shape[-1] < reader.num_samples:
            raise AudioDecodeError(
                f"the audio is incomplete: it ends after {waveform.shape[-1]} of {reader.num_samples} samples."
            )
        return waveform, reader.sampling_rate


def write_audio(path: str | Path, waveform: Tensor, sampling_rate: int) -> None:
    """Write (audio_channels, time) in the format of the file extension; wav is float32, so it is not clipped.

    The file appears when it is complete. A wav of 4 GiB or more is an RF64 file.

    Raises:
        ValueError: libsndfile cannot write this file extension, or this rate in it.
        OSError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix[1:].upper() not in soundfile.available_formats() or path.suffix.lower() == ".raw":
        raise ValueError(f"{path} has an extension that cannot be written; use .wav, .flac, .ogg or .mp3.")
    with replacing(path) as hidden:
        write_audio_blocks(hidden, [waveform], waveform.shape[-1], sampling_rate)


def write_audio_blocks(path: Path, blocks: Iterable[Tensor], num_samples: int, sampling_rate: int) -> None:
    """Write blocks (audio_channels, time) of a waveform of `num_samples` to a file of `replacing`."""
    check_written_rate(path, sampling_rate)
    blocks = iter(blocks)
    first = next(blocks)
    wav = path.suffix.lower() == ".wav"
    long = wav and 4 * num_samples * len(first) > LONGEST_WAV
    options = {"subtype": "FLOAT" if wav else None, "format": "RF64" if long else None}
    try:
        with soundfile.SoundFile(os.fsencode(path), "w", sampling_rate, len(first), **options) as file:
            for block in itertools.chain([first], blocks):
                samples = block.detach().float().cpu().numpy().T  # (time, channels)
                # In blocks: libsndfile encodes each Vorbis write on the stack, and a minute of stereo overflows it.
                for start in range(0, len(samples), WRITE_BLOCK):
                    file.write(samples[start : start + WRITE_BLOCK])
    except soundfile.LibsndfileError as error:
        with open(path, "ab") as file:  # libsndfile says "System error"; this write fails with the reason
            file.write(bytes(WRITE_BLOCK))
        raise OSError(error.error_string) from error


def check_written_rate(path: str | Path, sampling_rate: int) -> None:
    """Raise `ValueError` if the format of a file name has no such rate; libsndfile would crash for some of them."""
    suffix = Path(path).suffix.lower()
    highest = HIGHEST_RATES.get(suffix, 2**31 - 1)
    if not 1 <= sampling_rate <= highest:
        raise ValueError(f"a {suffix} file has no sampling rate of {sampling_rate} Hz; use 1 to {highest} Hz.")
    if suffix == ".flac" and sampling_rate > FLAC_WHOLE_RATES and sampling_rate % 10:
        raise ValueError(
            f"a .flac file has no sampling rate of {sampling_rate} Hz; above {FLAC_WHOLE_RATES} Hz, use a multiple of "
            f"10 Hz."
        )


def open_binary(source: str | Path | bytes) -> AbstractContextManager[BinaryIO]:
    """Open a regular file, a URL that fsspec opens, or bytes for reading; raises `OSError` on failure."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if "://" in str(source):
        import fsspec

        return fsspec.open(str(source), "rb")
    check_regular_file(source)
    return open(source, "rb")


@functools.cache  # once for each file, which a training opens many times
def _warn_of_open_end(name: str) -> None:
    logger.warning("%s has no end mark. All of its pages are read; the sound may go on in a whole copy.", name)


def check_peak(peak: float) -> None:
    """Raise `AudioDecodeError` for a peak that no sound has, whatever the type of its samples."""
    if peak > HIGHEST_PEAK:
        raise AudioDecodeError(f"its peak is {peak:.1e}, and full scale is 1; scale it, or leave it out.")


def _undecodable(error: soundfile.LibsndfileError) -> AudioDecodeError:
    reason = error.error_string.rstrip(".")
    return AudioDecodeError(f"the audio cannot be decoded ({reason}); convert it to PCM, or use an intact copy.")


def _open_reader(stream: BinaryIO) -> AudioReader:
    try:
        return _SoundFileReader(stream)
    except soundfile.LibsndfileError as error:
        if importlib.util.find_spec("torchcodec") is None:
            stream.seek(0)
            if (head := stream.read(12)).startswith(TORCHCODEC_SIGNATURES) or head[4:8] == b"ftyp":
                hint = "pip install 'hf-audio-vae[m4a]'; it needs FFmpeg"
                raise AudioDecodeError(
                    f"the audio has a format that torchcodec decodes (m4a, aac, webm, wma): {hint}."
                ) from error
            raise
    stream.seek(0)
    return _TorchcodecReader(stream)


class _SoundFileReader:
    def __init__(self, stream: BinaryIO) -> None:
        source = with_length(stream)
        try:
            self._file = soundfile.SoundFile(source)
        except TypeError as error:  # the name ends with .raw
            raise AudioDecodeError("the audio is raw and states no sampling rate; convert it to WAV.") from error
        if self._file.format == "FLAC" and self._file.frames and lacks_sample(source, self._file.frames - 1):
            raise AudioDecodeError(f"the audio is incomplete: the last of its {self._file.frames} samples is missing.")
        self._preroll = PREROLL.get(self._file.subtype, 0)
        self.sampling_rate = self._file.samplerate
        self.audio_channels = self._file.channels
        self.num_samples = self._file.frames
        self._position = 0  # of the next sample, if the encoding allows no seeking

    def read(self, start: int, count: int) -> Tensor:
        count = min(count, max(self.num_samples - start, 0))
        if not self._file.seekable():
            return self._read_on(start, count)
        skipped = min(start, self._preroll)
        try:
            if self._file.subtype == "VORBIS":
                self._file.seek(0)  # libsndfile seeks inaccurately from a nearby position
                if start > self.num_samples - VORBIS_LAST_PAGE:
                    skipped = min(start, VORBIS_LAST_PAGE)
            self._file.seek(start - skipped)
            samples = np.concatenate(list(self._blocks(skipped + count)))[skipped:]
        except soundfile.LibsndfileError as error:
            raise _undecodable(error) from error
        return torch.from_numpy(np.ascontiguousarray(samples.T))  # (time, channels) -> (channels, time)

    def _read_on(self, start: int, count: int) -> Tensor:
        """Read from where the last read ended: GSM 6.10, G.721 and the like can only be decoded in order."""
        if start != self._position:
            raise AudioDecodeError("the audio has an encoding that is decoded only from its start; convert it to PCM.")
        samples = np.concatenate(list(self._blocks(count)))
        self._position += len(samples)
        return torch.from_numpy(np.ascontiguousarray(samples.T))  # (time, channels) -> (channels, time)

    def _blocks(self, count: int) -> Iterator[np.ndarray]:
        """Yield `count` samples, fewer at the end of the file, in blocks (time, channels), at least one."""
        while True:
            block = self._file.read(min(count, READ_BLOCK), dtype="float32", always_2d=True)
            yield block
            count -= len(block)
            if len(block) < READ_BLOCK or count < 1:
                return

    def close(self) -> None:
        self._file.close()


class _TorchcodecReader:
    def __init__(self, stream: BinaryIO) -> None:
        # Decoded once and kept. A range would be decoded from the start every time, the header only estimates the
        # length for many formats, and FFmpeg's AAC decoder produces different noise after a restart.
        try:
            from torchcodec.decoders import AudioDecoder

            samples = AudioDecoder(stream.read()).get_all_samples()
        except (ImportError, RuntimeError, ValueError) as error:
            raise AudioDecodeError(f"the audio cannot be decoded: {error}") from error
        self._waveform = samples.data
        self.sampling_rate = samples.sample_rate
        self.audio_channels, self.num_samples = self._waveform.shape

    def read(self, start: int, count: int) -> Tensor:
        return self._waveform[:, start : start + count].clone()

    def close(self) -> None:
        del self._waveform
