"""Faults of audio files."""

import os
import struct
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import soundfile

from .registry import AUDIO, attempt, cut, fault, flip, in_child

Reader = Callable[[Path], Any]
READERS: dict[str, Reader] = {
    "soundfile": lambda path: soundfile.read(path)[0],
    "librosa": lambda path: import_module("librosa").load(path, sr=None)[0],
    "torchcodec": lambda path: import_module("torchcodec.decoders").AudioDecoder(path).get_all_samples().data[0],
    "torchaudio": lambda path: import_module("torchaudio").load(path)[0][0],
    "audiocraft": lambda path: import_module("audiocraft.data.audio").audio_read(path)[0][0],
    "audiotools": lambda path: import_module("audiotools").AudioSignal(path).audio_data[0, 0],
}


def header(**fields: int) -> Callable[[Path], None]:
    """Return a function that sets the fields `riff` and `data` (sizes) and `rate` in the header of a WAV."""
    places = {"riff": 4, "rate": 24, "data": 40}

    def write(path: Path) -> None:
        content = bytearray(path.read_bytes())
        for name, value in fields.items():
            content[places[name] : places[name] + 4] = struct.pack("<I", value)
        path.write_bytes(content)

    return write


def scatter(path: Path) -> None:
    """Flip 20 bytes in the second half."""
    flip(path, *(0.5 + 0.02 * index for index in range(20)))


def keep(path: Path) -> None:
    """Leave the file as it is."""


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "No fault: WAV": ("wav", keep),
    "WAV cut in half": ("wav", cut),
    "FLAC cut in half": ("flac", cut),
    "MP3 cut in half": ("mp3", cut),
    "Ogg Vorbis cut in half": ("ogg", cut),
    "FLAC with 20 flipped bytes": ("flac", scatter),
    "MP3 with 20 flipped bytes": ("mp3", scatter),
    "Ogg Vorbis with 20 flipped bytes": ("ogg", scatter),
    "WAV from a pipe, sizes 0xFFFFFFFF": ("wav", header(riff=0xFFFFFFFF, data=0xFFFFFFFF)),
    "WAV from a pipe, sizes 0": ("wav", header(riff=0, data=0)),
    "RF64": ("rf64", keep),
    "WAV with the rate 0": ("wav", header(rate=0)),
    "Empty file": ("wav", lambda path: os.truncate(path, 0)),
}


def damaged(kind: str, damage: Callable[[Path], object]) -> Callable[[Path, Reader], str]:
    """Return a case that counts the samples of two seconds of music."""

    def provoke(folder: Path, peer: Reader) -> str:
        samples, rate = soundfile.read(AUDIO / "music_musicbox.ogg", frames=96_000, always_2d=True)
        path = folder / f"a.{kind.replace('rf64', 'wav')}"
        soundfile.write(path, samples[:, :1], rate, format=kind.upper())
        damage(path)
        return attempt(lambda: len(peer(path)), lambda count: f"{count} of {len(samples)} samples")

    return provoke


for _name, (_kind, _damage) in DAMAGES.items():
    fault("audio files", READERS, _name)(damaged(_kind, _damage))


@fault("audio files", READERS, quick=False)
def named_pipe(folder: Path, peer: Reader) -> str:
    """A named pipe that nobody writes to."""
    os.mkfifo(folder / "a.wav")
    return in_child(lambda: attempt(lambda: peer(folder / "a.wav")), seconds=5)
