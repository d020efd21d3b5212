"""Detect files that hold several encoded streams in sequence, of which libsndfile decodes the first."""

from typing import BinaryIO

from hf_audio_vae.audio.completeness import (
    first_mp3_frame,
    last_ogg_page,
    mp3_frame_length,
    read_at,
    same_mp3_stream,
    xing_bytes,
    xing_frames,
)
from hf_audio_vae.audio.flac_frames import ends_as_stated

FIRST_PAGE, SERIAL = 2, slice(14, 18)
FLAC_START = b"fLaC\0\0\0\x22"  # with the header of the first block, which has 34 bytes
SEARCHED = 1 << 20  # bytes per step of a search


def following_stream(stream: BinaryIO, *, thorough: bool = False) -> int | None:
    """Return the position in bytes of a second stream, or `None` if there is none or the format has no such sign.

    - Ogg (RFC 3533 allows it, and broadcasts have it): the last page belongs to a stream that does not start with the
      file. Thorough: a stream starts after the first pages.
    - FLAC: a second marker with its header. Unless thorough, it is only searched for if the last frame is not the
      last of the length that the header states.
    - MP3: more frames than the Xing header counts. Unless thorough, they are only counted if frames follow the bytes
      that it counts. Without this header, all frames are decoded.

    Args:
        stream (`BinaryIO`): Encoded audio, seekable and complete.
        thorough (`bool`): Read all of it, and not only its start and end.
    """
    size = stream.seek(0, 2)
    head = read_at(stream, 0, 4)
    if head == b"OggS":
        return _following_ogg(stream, size, thorough)
    if head == b"fLaC":
        return _following_flac(stream, size) if thorough or not ends_as_stated(stream, size) else None
    return _following_mp3(stream, size, thorough)


def _following_ogg(stream: BinaryIO, size: int, thorough: bool) -> int | None:
    position, serials, is_start = 0, set(), True
    while position < size and (is_start or thorough):
        header = read_at(stream, position, 27 + 255)
        if header[:4] != b"OggS" or len(header) < 27:
            return None  # tags of another format
        starts = bool(header[5] & FIRST_PAGE)
        if starts and not is_start:
            return position
        is_start = starts
        if starts:
            serials.add(header[SERIAL])
        position += 27 + header[26] + sum(header[27 : 27 + header[26]])
    end, page = last_ogg_page(stream, size)
    return None if not page or page[SERIAL] in serials else end - len(page)


def _following_flac(stream: BinaryIO, size: int) -> int | None:
    for start in range(1, size, SEARCHED):
        found = read_at(stream, start, SEARCHED + len(FLAC_START) - 1).find(FLAC_START)
        if found >= 0:
            return start + found
    return None


def _following_mp3(stream: BinaryIO, size: int, thorough: bool) -> int | None:
    frame = first_mp3_frame(stream)
    counted = None if frame is None else xing_frames(stream, frame[0])
    if frame is None or counted is None:
        return None
    position, first = frame[0], read_at(stream, frame[0], 4)
    counted_bytes = xing_bytes(stream, position)
    # Encoders disagree about the frame of the header.
    if (
        not thorough
        and counted_bytes
        and _mp3_frames_after(stream, position + counted_bytes + frame[1], first) is None
    ):
        return None
    for _ in range(counted):
        header = read_at(stream, position, 4)
        length = mp3_frame_length(header) if same_mp3_stream(first, header) else 0
        if not length:
            return None
        position += length
    return _mp3_frames_after(stream, position, first)


def _mp3_frames_after(stream: BinaryIO, position: int, first: bytes) -> int | None:
    """Return where two frames of the same kind as `first` follow a position, perhaps after tags."""
    rest = read_at(stream, position, SEARCHED)
    start = rest.find(first[:1])
    while 0 <= start < len(rest) - 4:
        header = rest[start : start + 4]
        length = mp3_frame_length(header) if same_mp3_stream(first, header) else 0
        if length and same_mp3_stream(first, rest[start + length : start + length + 4]):
            return position + start
        start = rest.find(first[:1], start + 1)
    return None
