"""Lengths of the samples that the headers of rarer formats state."""

import re
import struct
from collections.abc import Callable
from typing import BinaryIO

HEADER = 4096  # bytes that hold the header of any of these formats
VOC_TERMINATOR = 0


def stated_end(stream: BinaryIO) -> int | None:
    """Return the position where the samples end according to the header, `None` if the format states no length.

    NIST SPHERE, AVR, MPC2000 and Psion WVE count samples. Creative Voice and MATLAB 5 files consist of sized parts.
    IRCAM, PAF, PVF, MATLAB 4 and raw files end wherever they end.
    """
    stream.seek(0)
    head = stream.read(HEADER)
    for magic, end in FORMATS.items():
        if head.startswith(magic):
            try:
                return end(stream, head)
            except (struct.error, ValueError, KeyError):  # the header itself is cut or damaged
                return len(head) + 1
    return None


def _nist(_: BinaryIO, head: bytes) -> int | None:
    # Lines such as `sample_count -i 16000`, after the length of the header.
    fields = {key: value.strip() for key, value in re.findall(rb"(\w+) -\w+ ([^\n]+)\n", head)}
    if b"pcm" not in fields.get(b"sample_coding", b"pcm") and b"law" not in fields[b"sample_coding"]:
        return None  # compressed
    count, width, channels = (int(fields[key]) for key in (b"sample_count", b"sample_n_bytes", b"channel_count"))
    return int(head.split(b"\n", 2)[1]) + count * width * channels


def _voc(stream: BinaryIO, head: bytes) -> int:
    (position,) = struct.unpack_from("<H", head, 20)
    while True:
        stream.seek(position)
        block = stream.read(4)
        if block[:1] == bytes([VOC_TERMINATOR]):
            return position + 1
        if len(block) < 4:
            return position + 4 if block else position  # a terminator may be missing
        position += 4 + int.from_bytes(block[1:], "little")


def _avr(_: BinaryIO, head: bytes) -> int:
    channels, bits, count = struct.unpack_from(">HH", head, 12) + struct.unpack_from(">I", head, 26)
    return 128 + count * (bits // 8) * (2 if channels else 1)


def _mpc2000(_: BinaryIO, head: bytes) -> int:
    is_stereo, count = struct.unpack_from("<B", head, 21) + struct.unpack_from("<I", head, 30)
    return 42 + 2 * count * (2 if is_stereo else 1)


def _psion(_: BinaryIO, head: bytes) -> int:
    return 32 + int(struct.unpack_from(">I", head, 18)[0])


def _matlab(stream: BinaryIO, head: bytes) -> int:
    order, position, size = {b"IM": "<", b"MI": ">"}[head[126:128]], 128, stream.seek(0, 2)
    while position + 8 <= size:
        stream.seek(position)
        position += 8 + struct.unpack(f"{order}II", stream.read(8))[1]
    return position - 8  # libsndfile counts the header of the last part twice


FORMATS: dict[bytes, Callable[[BinaryIO, bytes], int | None]] = {
    b"NIST_1A": _nist,
    b"Creative Voice File": _voc,
    b"2BIT": _avr,
    b"\x01\x04": _mpc2000,
    b"ALawSoundFile**": _psion,
    b"MATLAB 5.0": _matlab,
}
