"""Present WAV and FLAC from a pipe with the length that their headers lack."""

import bisect
import io
import os
from pathlib import Path
from typing import Any, BinaryIO, cast

import soundfile

from hf_audio_vae.audio.completeness import unset_data_size

LONGEST_FLAC = 2**36  # samples
FLAC_TOTAL = 21  # position of the samples' count in the header, from its lower 4 bits on


Source = bytes | BinaryIO  # what `soundfile.SoundFile` opens


def with_length(stream: BinaryIO) -> Source:
    """Return what libsndfile opens to read a stream from its start; a header without a length is replaced.

    A file is returned as its path: Ctrl-C inside a callback from libsndfile would be lost.
    """
    position = unset_data_size(stream)
    if position is not None:
        return _overlaid(stream, position, b"\xff" * 4)  # libsndfile reads up to the end of the file
    stream.seek(0)
    head = stream.read(FLAC_TOTAL + 5)
    total = int.from_bytes(head[FLAC_TOTAL:], "big")
    is_file = isinstance(stream, io.BufferedReader) and not _has_resource_fork(Path(stream.name))
    source = os.fsencode(stream.name) if is_file else _overlaid(stream)
    if head[:4] != b"fLaC" or len(head) < FLAC_TOTAL + 5 or total % LONGEST_FLAC:
        return source
    # libsndfile cannot read the last sample before it knows the length.
    length = bisect.bisect_left(range(LONGEST_FLAC - 1), True, key=lambda sample: lacks_sample(source, sample)) + 1
    return _overlaid(stream, FLAC_TOTAL, (total + length).to_bytes(5, "big"))


def _has_resource_fork(path: Path) -> bool:
    """Return whether macOS left a file of attributes beside a file; libsndfile takes an MP3 beside it for another."""
    return any(os.path.exists(path.parent / fork) for fork in (f"._{path.name}", f".AppleDouble/{path.name}"))


def lacks_sample(source: Source, sample: int) -> bool:
    """Whether a sample cannot be decoded. A new decoder is used, since libsndfile cannot continue after an error."""
    if isinstance(source, bytes):
        return _lacks_sample(source, sample)
    position = source.tell()
    source.seek(0)
    is_missing = _lacks_sample(source, sample)
    source.seek(position)
    return is_missing


def _lacks_sample(source: Source, sample: int) -> bool:
    try:
        with soundfile.SoundFile(source) as file:
            file.seek(sample)
            return not len(file.read(1))
    except soundfile.LibsndfileError:
        return True


class _Overlaid(io.RawIOBase):
    """A stream from its start, with some bytes replaced."""

    def __init__(self, stream: BinaryIO, position: int, replacement: bytes) -> None:
        self._stream, self._position, self._replacement = stream, position, replacement
        stream.seek(0)

    def seek(self, offset: int, whence: int = 0) -> int:
        base = self._stream.seek(0, whence) if whence else 0
        return self._stream.seek(max(base + offset, 0))  # damaged files lead libsndfile to negative positions

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        shift = self._position - self._stream.tell()
        content = bytearray(self._stream.read(len(buffer)))
        for index, byte in enumerate(self._replacement, start=shift):
            if 0 <= index < len(content):
                content[index] = byte
        buffer[: len(content)] = content
        return len(content)


def _overlaid(stream: BinaryIO, position: int = 0, replacement: bytes = b"") -> BinaryIO:
    return cast(BinaryIO, _Overlaid(stream, position, replacement))
