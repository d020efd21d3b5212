import io

import pytest
import soundfile
import torch

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
