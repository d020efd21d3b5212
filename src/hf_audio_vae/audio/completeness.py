"""Detect truncated or damaged audio files from headers and sizes, without decoding."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hf_audio_vae.audio.stated_lengths import stated_end

MAX_PAGE = 27 + 255 + 255 * 255  # bytes of the longest Ogg page
LAST_PAGE, OGG_CRC = 4, slice(22, 26)
MAX_CHUNKS = 10_000  # zeros would be read as empty chunks
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
MP3_SEARCH = 1 << 16  # bytes searched for the first frame
MP3_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3", b"\0")


def missing_part(stream: BinaryIO, *, thorough: bool = False) -> str | None:
    """Describe the part of encoded audio that is missing or damaged.

    - WAV, RF64, W64, AIFF, CAF, AU and MP4: a chunk is longer than the rest of the file. A WAV from a pipe has no
      length: its size is 0, or just below 2 or 4 GiB.
    - Ogg: the file ends inside of a page. Thorough: a page is missing, or its checksum is wrong.
    - NIST SPHERE, VOC, 8SVX, AVR, MPC2000, WVE and MATLAB 5: the header states a greater length.
    - MP3: the Xing header counts more bytes than the file has. Thorough: frames are missing, or do not follow each
      other. Damage inside a frame has no checksum.

    Args:
        stream (`BinaryIO`): Encoded audio, seekable.
        thorough (`bool`): Read all of it, and not only headers and the end.

    Returns:
        `str`: The fault, such as ``"its data has 95978 of 192000 bytes"``; `None` if none is found, or if the format
        has no such signs.
    """
    size = stream.seek(0, 2)
    head = read_at(stream, 0, 16)
    if layout := IFF_SOUND if head[:4] == b"FORM" and head[8:12] in IFF_TYPES else CHUNKED.get(head[:4]):
        return _short_chunk(stream, size, layout)
    if head[:4] == b"OggS":
        return _damaged_page(stream, size) if thorough else _cut_page(stream, size)
    if order := {b".snd": ">", b"dns.": "<"}.get(head[:4]):
        offset, length = struct.unpack(f"{order}II", head[4:12]) if len(head) >= 12 else (0, 0)
        return _shortage(length, size - offset)
    if head[4:8] == b"ftyp":
        return _short_box(stream, size)
    if head[:3] == b"ID3" or head[:1] == b"\xff":
        return _missing_frames(stream, size, thorough)
    end = stated_end(stream)
    return None if end is None or end <= size else f"its header promises {end} bytes, and it has {size}"


def lacks_end_mark(stream: BinaryIO) -> bool:
    """Return whether this is an Ogg stream whose last page does not say that it ends.

    A recording of a broadcast, or of an encoder that was killed, has no mark. A copy that was cut exactly between two
    pages looks the same.
    """
    return read_at(stream, 0, 4) == b"OggS" and not _ends(last_ogg_page(stream, stream.seek(0, 2))[1])


def unset_data_size(stream: BinaryIO) -> int | None:
    """Return the position of a WAV's data size that is 0 although data follows, as pipes leave it; else `None`."""
    size = stream.seek(0, 2)
    head = read_at(stream, 0, 8)
    if head[:4] != b"RIFF" or len(head) < 8:
        return None
    whole = struct.unpack("<I", head[4:])[0]
    for name, length, start in _chunks(stream, size, CHUNKED[b"RIFF"]):
        if name == b"data":
            covered = whole + 8 >= size and not _is_placeholder(whole)  # other chunks follow empty data
            return start - 4 if length == 0 and size > start and not covered else None
    return None


@dataclass(frozen=True)
class ChunkLayout:
    """How the chunks of a container are stored.

    Args:
        start (`int`): Position of the first chunk.
        header (`str`): `struct` format of a chunk's name and size.
        data (`bytes`): Name of the chunk with the samples.
        alignment (`int`): Chunks start at multiples of this.
        counts_header (`bool`): The size includes the header.
    """

    start: int
    header: str
    data: bytes
    alignment: int = 2
    counts_header: bool = False


W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
WAV = ChunkLayout(12, "<4sI", b"data")
CHUNKED = {
    **dict.fromkeys((b"RIFF", b"RF64", b"BW64"), WAV),
    b"RIFX": ChunkLayout(12, ">4sI", b"data"),
    b"FORM": ChunkLayout(12, ">4sI", b"SSND"),
    b"caff": ChunkLayout(8, ">4sQ", b"data", alignment=1),
    b"riff": ChunkLayout(40, "<16sQ", W64_DATA, alignment=8, counts_header=True),
}
IFF_TYPES = (b"8SVX", b"16SV")
IFF_SOUND = ChunkLayout(12, ">4sI", b"BODY")


def _chunks(stream: BinaryIO, size: int, layout: ChunkLayout) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name, length and start of the content of each chunk, up to the data."""
    header_length = struct.calcsize(layout.header)
    position, name = layout.start, b""
    for _ in range(MAX_CHUNKS):
        if name == layout.data or position + header_length > size:
            return
        name, length = struct.unpack(layout.header, read_at(stream, position, header_length))
        length -= header_length * layout.counts_header
        position += header_length
        yield name, length, position
        position += max(length, 0)
        position += -position % layout.alignment


def _short_chunk(stream: BinaryIO, size: int, layout: ChunkLayout) -> str | None:
    length_64 = 0
    for name, length, start in _chunks(stream, size, layout):
        if name == b"ds64" and start + 16 <= size:
            length_64 = struct.unpack("<Q", read_at(stream, start + 8, 8))[0]
        if name == layout.data:
            return _shortage(length_64 if length == 0xFFFFFFFF else length, size - start)
    return None


def _shortage(promised: int, present: int) -> str | None:
    if promised <= present or _is_placeholder(promised):
        return None
    return f"its data has {max(present, 0)} of {promised} bytes"


def _is_placeholder(length: int) -> bool:
    """Whether a size stands for an unknown length: 0, -1, or a value written by recorders that cannot seek back."""
    near_2_or_4_gib = 0x7FFFF000 <= length <= 0x80000100 or 0xFFFFF000 <= length <= 0xFFFFFFFF
    return length <= 0 or near_2_or_4_gib or length >= 0x7FFF_FFFF_0000_0000


def _short_box(stream: BinaryIO, size: int) -> str | None:
    position = 0
    while position + 8 <= size:
        length, name = struct.unpack(">I4s", read_at(stream, position, 8))
        if length == 1 and position + 16 <= size:
            length = struct.unpack(">Q", read_at(stream, position + 8, 8))[0]
        if length < 8:  # 0: up to the end
            return None
        if position + length > size:
            return f"its {name.decode('latin-1')} box has {size - position} of {length} bytes"
        position += length
    return None


def _page_length(page: bytes) -> int:
    """Length of the Ogg page that starts here, 0 if it is not whole or its checksum is wrong."""
    if page[:5] != b"OggS\0" or len(page) < 27 or len(page) < 27 + page[26]:
        return 0
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if len(page) < length:
        return 0
    unsigned = page[:22] + bytes(4) + page[26:length]
    # Ogg's checksum reads the bits of each byte in the other order than zlib's, and starts from 0.
    reversed_sum = zlib.crc32(unsigned.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return length if reversed_sum.to_bytes(4, "big").translate(REVERSED_BITS) == page[OGG_CRC] else 0


def _cut_page(stream: BinaryIO, size: int) -> str | None:
    """Look for a page that the end of the file cuts."""
    end, page = last_ogg_page(stream, size)
    whole = _ends(page) or end == size
    return None if whole else f"its end is missing: {size - end} bytes follow the last whole Ogg page"


def _ends(page: bytes) -> bool:
    """Whether a page ends its stream."""
    return bool(page) and bool(page[5] & LAST_PAGE)


def last_ogg_page(stream: BinaryIO, size: int) -> tuple[int, bytes]:
    """Return where the last whole page near the end of the file ends, and the page; empty if the last is damaged."""
    before = max(size - 2 * MAX_PAGE, 0)
    tail = read_at(stream, before, 2 * MAX_PAGE)
    end, page, position = before, b"", tail.find(b"OggS")
    while position >= 0:
        length = _page_length(tail[position : position + MAX_PAGE])
        page = tail[position : position + length]
        end = before + position + length if length else end
        position = tail.find(b"OggS", position + max(length, 1))
    return end, page


def _damaged_page(stream: BinaryIO, size: int) -> str | None:
    """Check the number and the checksum of each Ogg page."""
    numbers: dict[bytes, int] = {}  # last page of each stream that has not ended
    position = 0
    while position < size:
        header = read_at(stream, position, 27 + 255)
        content = 27 + header[26] + sum(header[27 : 27 + header[26]]) if len(header) >= 27 else 0
        page = header[:content] + stream.read(max(content - len(header), 0))
        if not _page_length(page):
            if not numbers and position and page[:4] != b"OggS":
                return None  # tags of another format
            return f"the Ogg page at byte {position} of {size} is cut or damaged"
        serial, (number,) = page[14:18], struct.unpack("<I", page[18:22])
        if serial in numbers and number != numbers[serial] + 1:
            return f"{number - numbers[serial] - 1} Ogg pages are missing before byte {position}"
        numbers[serial] = number
        if page[5] & LAST_PAGE:
            del numbers[serial]
        position += content
    return None


def _missing_frames(stream: BinaryIO, size: int, thorough: bool) -> str | None:
    """Compare the frames of an MP3 file with its Xing header, and with each other."""
    first = first_mp3_frame(stream)
    if first is None:
        return None
    position, length = first
    promised = xing_bytes(stream, position)
    if promised > size - position + length:  # encoders disagree about the frame of the header
        return f"it has {size - position} of {promised} bytes"
    return _broken_sequence(stream, size, position, xing_frames(stream, position)) if thorough else None


def xing_frames(stream: BinaryIO, position: int) -> int | None:
    """Return how many frames an MP3 file has by the Xing header in the frame at `position`, with this frame."""
    flags, values = _xing_header(stream, position)
    return values[0] + 1 if flags & 1 else None


def xing_bytes(stream: BinaryIO, position: int) -> int:
    """Return how many bytes an MP3 file has by the Xing header in the frame at `position`, 0 if it does not say."""
    flags, values = _xing_header(stream, position)
    return values[flags & 1] if flags & 2 else 0


def _xing_header(stream: BinaryIO, position: int) -> tuple[int, tuple[int, int]]:
    """Return the flags, 0 without a header, and the two numbers after them."""
    head = read_at(stream, position, 192)
    mono, mpeg1 = head[3] >> 6 == 3, head[1] & 8
    xing = head[4 + (17 if mono else 32) if mpeg1 else 4 + (9 if mono else 17) :][:16]
    if xing[:4] not in (b"Xing", b"Info") or len(xing) < 16:
        return 0, (0, 0)
    flags, first, second = struct.unpack(">III", xing[4:])
    return flags, (first, second)


def first_mp3_frame(stream: BinaryIO) -> tuple[int, int] | None:
    """Return position and length of the first of two MP3 frames in sequence."""
    position, tag = 0, read_at(stream, 0, 10)
    while tag[:3] == b"ID3" and len(tag) == 10:
        position += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
        tag = read_at(stream, position, 10)
    data = read_at(stream, position, MP3_SEARCH)
    for start in range(len(data) - 4):
        length = mp3_frame_length(data[start : start + 4]) if data[start] == 0xFF else 0
        following = data[start + length : start + length + 4]
        if length and (len(following) < 4 or same_mp3_stream(data[start : start + 4], following)):
            return position + start, length
    return None


def _broken_sequence(stream: BinaryIO, size: int, position: int, frames: int | None) -> str | None:
    first = read_at(stream, position, 4)
    count = 0
    while position < size:
        header = read_at(stream, position, 11)
        length = mp3_frame_length(header[:4]) if same_mp3_stream(first, header[:4]) else 0
        if not length:
            if header.startswith(MP3_TRAILERS):
                break
            return f"no MP3 frame follows at byte {position} of {size}"
        if position + length > size:
            return f"the last MP3 frame has {size - position} of {length} bytes"
        position, count = position + length, count + 1
    return f"it has {count} of {frames} MP3 frames" if frames and count < frames else None


MP3_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),  # MPEG 2 and 2.5
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),  # MPEG 1
)
MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def mp3_frame_length(header: bytes) -> int:
    """Length of the MPEG layer III frame with this header, 0 if it is none or of free format."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return 0
    version, rate_index = header[1] >> 3 & 3, header[2] >> 2 & 3
    kbits = MP3_KBITS[version == 3][header[2] >> 4]
    if version == 1 or rate_index == 3 or not kbits:
        return 0
    per_frame = 144_000 if version == 3 else 72_000
    return per_frame * kbits // MP3_RATES[version][rate_index] + (header[2] >> 1 & 1)


def same_mp3_stream(a: bytes, b: bytes) -> bool:
    """Whether two frame headers have the same version, layer and sampling rate."""
    return len(b) == 4 and a[:1] == b[:1] and (a[1] ^ b[1]) & 0xFE == 0 and (a[2] ^ b[2]) & 0x0C == 0


def read_at(stream: BinaryIO, position: int, count: int) -> bytes:
    """Return up to `count` bytes from a position."""
    stream.seek(position)
    return stream.read(count)
