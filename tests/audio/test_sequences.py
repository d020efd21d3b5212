import io

import pytest
import soundfile
import torch

from hf_audio_vae.audio.flac_frames import ends_as_stated
from hf_audio_vae.audio.io import AudioDecodeError, open_audio, read_audio
from hf_audio_vae.audio.sequences import following_stream

FORMATS = {"ogg": "VORBIS", "opus": "OPUS", "flac": "PCM_16", "mp3": "MPEG_LAYER_III"}


def encoded(name: str, seconds: float, seed: int = 0) -> bytes:
    sound = 0.1 * torch.randn(round(seconds * 48000), generator=torch.Generator().manual_seed(seed))
    file = io.BytesIO()
    container = {"opus": "OGG"}.get(name, name.upper())
    soundfile.write(file, sound.numpy(), 48000, format=container, subtype=FORMATS[name])
    return file.getvalue()


@pytest.mark.parametrize("name", FORMATS)
def test_a_second_stream_is_refused_with_its_position(name: str) -> None:
    first, second = encoded(name, 0.5), encoded(name, 2.0, seed=1)
    assert read_audio(first)[0].shape[-1] == pytest.approx(24000, abs=2400)
    for following in (second, first):
        with pytest.raises(AudioDecodeError, match=r"another stream follows at byte (\d+).*split the file") as caught:
            read_audio(first + following)
        position = int(str(caught.value).split(" byte ")[1].split(",")[0])
        assert abs(position - len(first)) < 1500  # an MP3 header may not count its own frame


def test_a_second_ogg_stream_is_found_without_reading_all() -> None:
    with (
        pytest.raises(AudioDecodeError, match="another stream follows"),
        open_audio(encoded("ogg", 0.5) + encoded("opus", 0.5)),
    ):
        pass


def test_a_frame_without_a_length_ends_the_search() -> None:
    whole = bytearray(encoded("mp3", 0.5))
    start = whole.index(b"Info") if b"Info" in whole else whole.index(b"Xing")
    whole[start + 8 : start + 12] = b"\xff\xff\xff\xff"  # frames that the header counts
    second = whole.index(bytes(whole[: whole.index(0xFB) + 1]), start)
    whole[second + 2] |= 0xF0  # no bit rate
    assert following_stream(io.BytesIO(bytes(whole)), thorough=True) is None


class _Counting(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1) -> bytes:
        found = super().read(size)
        self.count += len(found)
        return found


@pytest.mark.parametrize("name", ["flac", "mp3"])
def test_a_second_stream_is_found_without_reading_all_of_a_file_that_has_one(name: str) -> None:
    whole, other = encoded(name, 4.0), encoded(name, 0.5, seed=1)
    for sound in (whole + other, other + whole, whole + whole):
        with pytest.raises(AudioDecodeError, match=r"another stream follows at byte \d+"), open_audio(sound):
            pass
        assert following_stream(io.BytesIO(sound)) == following_stream(io.BytesIO(sound), thorough=True)
    sounds = [encoded(name, seconds) for seconds in (8.0, 16.0)]
    for tags in (b"", b"TAG" + bytes(125), b"APETAGEX" + 20_000 * b"\xfb\xff"):
        streams = [_Counting(sound + tags) for sound in sounds]
        assert [following_stream(stream) for stream in streams] == [None, None]
        assert abs(streams[0].count - streams[1].count) < 100


def test_the_last_flac_frame_of_a_stream_of_any_length_is_found() -> None:
    for samples in (1, 15, 4096, 4097, 70_000, 700_001):
        file = io.BytesIO()
        sound = 0.1 * torch.randn(samples, 2, generator=torch.Generator().manual_seed(samples))
        soundfile.write(file, sound.numpy(), 44_100, format="FLAC", subtype="PCM_24")
        once = file.getvalue()
        assert ends_as_stated(io.BytesIO(once), len(once)), samples
        assert not ends_as_stated(io.BytesIO(2 * once), 2 * len(once)), samples
