import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hf_audio_vae.audio import AudioDecodeError, read_audio, resample
from hf_audio_vae.data import clip_starts, load_audio_stream, random_crop
from tests.data.sounds import RATE, encoded

REPO = Path(__file__).parents[2]
MUSIC = REPO / "data/held_out/music_musicbox.ogg"


def item(path: Path) -> dict:
    return {"bytes": None, "path": str(path)}


def test_crop_is_a_stretch_of_the_resampled_file() -> None:
    whole = resample(*read_audio(MUSIC), 24000)
    starts = set()
    for seed in range(8):
        crop, start = random_crop(item(MUSIC), 6000, seed, sampling_rate=24000, audio_channels=2)
        torch.testing.assert_close(crop, whole[:, start : start + 6000], rtol=0, atol=1e-6)
        starts.add(start)
    assert len(starts) == 8


def test_every_start_that_fits_is_drawn() -> None:
    audio = {"bytes": encoded(0.5, seconds=12 / RATE), "path": None}
    starts = {random_crop(audio, 10, seed, sampling_rate=RATE, audio_channels=1)[1] for seed in range(60)}
    assert starts == {0, 1, 2}


def test_short_file_is_continued_with_silence() -> None:
    crop, _ = random_crop({"bytes": encoded(0.5), "path": None}, RATE, 0, sampling_rate=RATE, audio_channels=2)
    assert crop.shape == (2, RATE)
    assert bool((crop[:, : RATE // 2] == 0.5).all())
    assert bool((crop[:, RATE // 2 :] == 0).all())


@pytest.mark.parametrize(
    "bad",
    [b"not audio", b"", encoded(float("nan")), encoded(float("inf")), encoded(1e30)],
    ids=["text", "nothing", "nan", "infinite", "far too loud"],  # the bytes themselves hold the time
)
def test_what_is_no_sound_is_refused(bad: bytes) -> None:
    with pytest.raises(AudioDecodeError):
        random_crop({"bytes": bad, "path": None}, 100, 0, sampling_rate=RATE, audio_channels=1)


def test_channels_that_cannot_be_converted_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "six.wav", np.zeros((100, 6), dtype=np.float32), RATE)
    with pytest.raises(AudioDecodeError, match="6 channels, but 2 are required"):
        random_crop(item(tmp_path / "six.wav"), 10, 0, sampling_rate=RATE, audio_channels=2)


def test_a_cut_file_is_refused() -> None:
    cut = MUSIC.read_bytes()[: MUSIC.stat().st_size // 2]
    with pytest.raises(AudioDecodeError, match="is incomplete: its end is missing"):
        random_crop({"bytes": cut, "path": None}, 100, 0, sampling_rate=44100, audio_channels=2)


def test_a_file_that_ends_before_the_length_it_claims_is_refused() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, read_audio(MUSIC)[0].numpy().T, 44100, format="MP3")
    content = bytearray(buffer.getvalue())
    content[20_000:20_200] = bytes(200)  # the decoder skips what it cannot read
    with pytest.raises(AudioDecodeError, match="before the length in its header"):
        random_crop({"bytes": bytes(content), "path": None}, 10**7, 0, sampling_rate=44100, audio_channels=2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not audio", "cannot be decoded"),
        (encoded(float("nan")), "NaN"),
        (encoded(0.5, seconds=1 / 48000, rate=48000), "too short for one sample"),
    ],
    ids=["text", "nan", "short"],
)
def test_a_bad_item_of_a_validation_set_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "broken.wav").write_bytes(content)
    with pytest.raises(AudioDecodeError, match=f"broken.wav.*{reason}"):
        list(clip_starts(load_audio_stream(str(tmp_path)), sampling_rate=RATE, audio_channels=1, max_seconds=1))


def test_whole_clips_are_the_start_of_every_item() -> None:
    stream = load_audio_stream(str(REPO / "data/held_out"))
    clips = dict(clip_starts(stream, sampling_rate=16000, audio_channels=1, max_seconds=1.5))
    assert len(clips) == 12
    music = resample(read_audio(MUSIC)[0].mean(dim=0, keepdim=True), 44100, 16000)
    torch.testing.assert_close(clips["music_musicbox"], music[:, :24000], rtol=0, atol=1e-6)
    assert clips["drum_snare_hard"].shape[-1] < 24000
