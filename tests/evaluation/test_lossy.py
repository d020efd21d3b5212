import io

import pytest
import soundfile
import torch

from hf_audio_vae.audio import read_audio, resample
from hf_audio_vae.evaluation.lossy import LOSSY, UncodableError, mp3, opus
from hf_audio_vae.evaluation.metrics import mel_spectrogram_distance


def test_opus_is_closer_to_the_original_at_a_higher_bitrate() -> None:
    waveform, rate = read_audio("data/held_out/speech_en_0890.flac")
    waveform = resample(waveform, rate, 24000)[:1, : 24000 * 3]
    coded = [opus(waveform, 24000, bits) for bits in (6000, 12000, 24000)]
    distances = [mel_spectrogram_distance(c.waveform[None], waveform[None], 24000).item() for c in coded]
    assert distances[0] > distances[1] > distances[2] > 0.2
    assert distances[0] < 4
    for c, bits in zip(coded, (6000, 12000, 24000), strict=True):
        assert c.bits_per_second == pytest.approx(bits, rel=0.15)
        assert c.waveform.shape == waveform.shape


@pytest.mark.parametrize(("rate", "bits", "message"), [(22050, 6000, "22050"), (24000, 100, "100")])
def test_opus_refuses_rates_that_it_does_not_have(rate: int, bits: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        opus(torch.zeros(1, 100), rate, bits)


@pytest.mark.parametrize("coder", LOSSY)
@pytest.mark.parametrize("channels", [1, 2])
def test_coders_of_files_keep_time_and_meet_the_rate_of_all_channels(coder: str, channels: int) -> None:
    waveform, rate = read_audio("data/held_out/music_musicbox.ogg")
    waveform = resample(waveform, rate, 48000)[:channels, : 48000 * 3 + 17]
    coded = LOSSY[coder](waveform, 48000, 96000)
    assert coded.bits_per_second == pytest.approx(96000, rel=0.25)
    assert coded.waveform.shape == waveform.shape
    error = (coded.waveform - waveform).square().sum()
    for shift in (-1, 1):  # the decoder's delay is compensated to the sample
        assert error < 0.5 * (coded.waveform.roll(shift, dims=-1) - waveform).square().sum()


def test_the_bitrate_of_opus_is_that_of_its_pages_after_the_headers() -> None:
    waveform, rate = read_audio("data/held_out/speech_en_0890.flac")
    waveform = waveform[:1, : rate * 3]
    file = io.BytesIO()
    level = (256000 - 16000) / (256000 - 6000)
    soundfile.write(file, waveform.T.numpy(), rate, format="OGG", subtype="OPUS", compression_level=level)
    pages = [b"OggS" + page for page in file.getvalue().split(b"OggS")[1:]]
    sound = pages[2:]  # after the pages of the two headers
    coded = opus(waveform, rate, 16000).bits_per_second
    assert coded == 8 * sum(len(page) for page in sound) / 3
    packets = sum(len(page) - 27 - page[26] for page in sound)  # a page is 27 bytes, its table, and the packets
    assert 0.95 < 8 * packets / 3 / coded < 1


@pytest.mark.parametrize("coder", ["opus", "mp3"])
def test_a_waveform_that_a_codec_cannot_code_is_named_with_a_remedy(coder: str) -> None:
    with pytest.raises(UncodableError, match="cannot code 0 samples of 1 channels at 48000 Hz.*leave the sound out"):
        LOSSY[coder](torch.zeros(1, 0), 48000, 64000)


def test_mp3_refuses_channels_that_it_does_not_have() -> None:
    with pytest.raises(ValueError, match="at most 2 channels, not 3; name another codec"):
        mp3(torch.zeros(3, 100), 48000, 64000)
