"""Present WAV and FLAC from a pipe with the length that their headers lack."""

import bisect
import io
from typing import Any, BinaryIO, cast

import soundfile

from hf_audio_vae.audio.completeness import unset_data_size

LONGEST_FLAC = 2**36  # samples
FLAC_TOTAL = 21  # position of the samples' count in the header, from its lower 4 bits on


def with_length(stream: BinaryIO) -> BinaryIO:
    """Return the stream for libsndfile, from its start; a header without a length is replaced."""
    position = unset_data_size(stream)
    if position is not None:
        return _overlaid(stream, position, b"\xff" * 4)  # libsndfile reads up to the end of the file
    stream.seek(0)
    head = stream.read(FLAC_TOTAL + 5)
    stream.seek(0)
    if head[:4] != b"fLaC" or len(head) < FLAC_TOTAL + 5:
        return _overlaid(stream)
    total = int.from_bytes(head[FLAC_TOTAL:], "big")
    if total % LONGEST_FLAC:
        return _overlaid(stream)
    # libsndfile cannot read the last sample before it knows the length.
    length = bisect.bisect_left(range(LONGEST_FLAC - 1), True, key=lambda sample: lacks_sample(stream, sample)) + 1
    return _overlaid(stream, FLAC_TOTAL, (total + length).to_bytes(5, "big"))


def lacks_sample(stream: BinaryIO, sample: int) -> bool:
    """Whether a sample cannot be decoded, by a decoder of its own: it is of no use after an error."""
    position = stream.tell()
    try:
        with soundfile.SoundFile(_overlaid(stream)) as file:
            file.seek(sample)
            return not len(file.read(1))
    except soundfile.LibsndfileError:
        return True
    finally:
        stream.seek(position)


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
