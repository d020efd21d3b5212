"""Compare the last frame of a FLAC file with the length that its header states (RFC 9639)."""

from typing import BinaryIO

STREAMINFO_END = 42  # marker, block header, 34 bytes
TAIL = 1 << 16  # bytes after the last frame that may hold tags
LONGEST_HEADER = 16
BLOCK_SIZES = {1: 192, **{code: 144 << code for code in range(2, 6)}, **{code: 1 << code for code in range(8, 16)}}


def ends_as_stated(stream: BinaryIO, size: int) -> bool:
    """Return whether the last frame of a FLAC file is the last of the stream at its start; reads only the tail.

    `False` is no proof of a second stream: the length may be unset, or long tags may follow.

    Args:
        stream (`BinaryIO`): Encoded audio, seekable.
        size (`int`): Its bytes.
    """
    stream.seek(0)
    info = stream.read(STREAMINFO_END)
    block_size, longest_frame = int.from_bytes(info[8:10], "big"), int.from_bytes(info[15:18], "big")
    total = int.from_bytes(info[21:26], "big") & (1 << 36) - 1
    start, before = _first_frame(stream), max(size - TAIL - longest_frame, 0)
    stream.seek(before)
    tail = stream.read()
    index = tail.rfind(b"\xff")
    while index >= 0:
        if found := _frame(tail[index : index + LONGEST_HEADER], block_size):
            number, first, length = found
            is_possible = not longest_frame or before + index <= start + number * longest_frame
            return first + length == total and is_possible
        index = tail.rfind(b"\xff", 0, index)
    return False


def _first_frame(stream: BinaryIO) -> int:
    """Return the position after the metadata."""
    position, is_last = 4, False
    while not is_last:
        stream.seek(position)
        header = stream.read(4)
        is_last = len(header) < 4 or header[0] >= 0x80
        position += 4 + int.from_bytes(header[1:], "big")
    return position


def _frame(header: bytes, block_size: int) -> tuple[int, int, int] | None:
    """Return the most frames before this one, its first sample and its samples; `None` if it is no frame."""
    if len(header) < 6 or header[1] & 0xFE != 0xF8:
        return None
    more = max(_leading_ones(header[4]) - 1, 0)  # bytes of the coded number after its first
    number = header[4] & 0x7F >> (more + 1 if more else 0)
    for byte in header[5 : 5 + more]:
        number = number << 6 | byte & 0x3F
    end = 5 + more
    code = header[2] >> 4
    size_bytes = {6: 1, 7: 2}.get(code, 0)
    length = int.from_bytes(header[end : end + size_bytes], "big") + 1 if size_bytes else BLOCK_SIZES.get(code, 0)
    end += size_bytes + {12: 1, 13: 2, 14: 2}.get(header[2] & 15, 0)
    if not length or end >= len(header) or _crc8(header[:end]) != header[end]:
        return None
    is_variable = header[1] & 1  # the coded number is that of the first sample
    first = number if is_variable else number * block_size
    return first // max(block_size, 1), first, length


def _leading_ones(byte: int) -> int:
    return 8 - (byte ^ 0xFF).bit_length()


def _crc8(data: bytes) -> int:
    """Cyclic redundancy check with the polynomial x^8 + x^2 + x + 1."""
    remainder = 0
    for byte in data:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder << 1 ^ (0x107 if remainder & 0x80 else 0)
    return remainder
