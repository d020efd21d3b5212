import io
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from hf_audio_vae.audio import convert_channels, open_audio, read_audio, read_crop, resample, resampling
from hf_audio_vae.audio.resampling import ResampledReader, resampled_length

BREAKBEAT = Path(__file__).parents[2] / "data/held_out/loop_breakbeat.flac"
SPEECH = Path(__file__).parents[2] / "data/held_out/speech_en_0890.flac"  # 16 kHz, mono
RATES = [(44100, 48000), (44100, 16000), (22050, 16000), (8000, 44100), (48000, 44100), (11025, 48000), (96000, 7350)]
PRECISION = 2**-20  # the filter's, of full scale


def tone(frequency_hz: float, sampling_rate: int, seconds: float = 1.0) -> Tensor:
    time = torch.arange(round(seconds * sampling_rate), dtype=torch.float64) / sampling_rate
    return torch.sin(2 * math.pi * frequency_hz * time)[None].float()


def inside(waveform: Tensor) -> Tensor:
    """Leave out a tenth at each end, where the filter runs over silence."""
    edge = waveform.shape[-1] // 10
    return waveform[..., edge:-edge]


def noise(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def wav(waveform: Tensor, sampling_rate: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, waveform.numpy().T, sampling_rate, format="WAV", subtype="FLOAT")
    return stream.getvalue()


@pytest.mark.parametrize(("orig_rate", "new_rate"), RATES)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.8])
def test_a_tone_below_the_cutoff_is_kept_in_level_and_phase(orig_rate, new_rate, share):
    frequency_hz = share * min(orig_rate, new_rate) / 2
    resampled = resample(tone(frequency_hz, orig_rate), orig_rate, new_rate)
    # Flat within 0.005 dB up to 0.8 of the band: a factor of 1 +- 5.8e-4.
    torch.testing.assert_close(inside(resampled), inside(tone(frequency_hz, new_rate)), rtol=0, atol=5.8e-4)


@pytest.mark.parametrize(("orig_rate", "new_rate"), [rates for rates in RATES if rates[0] > rates[1]])
def test_a_tone_above_the_cutoff_dies(orig_rate, new_rate):
    frequency_hz = (new_rate + orig_rate) / 4  # between the two bands' ends
    assert inside(tone(frequency_hz, orig_rate)).abs().max() > 0.99
    assert inside(resample(tone(frequency_hz, orig_rate), orig_rate, new_rate)).abs().max() < PRECISION


@pytest.mark.parametrize(("orig_rate", "new_rate"), [rates for rates in RATES if 2 * rates[0] < rates[1]])
def test_a_higher_rate_adds_nothing_above_the_old_band(orig_rate, new_rate):
    resampled = inside(resample(tone(0.4 * orig_rate, orig_rate), orig_rate, new_rate)).double()
    spectrum = torch.fft.rfft(resampled * torch.blackman_window(resampled.shape[-1], dtype=torch.float64)).abs()
    added = spectrum[..., math.ceil(0.55 * orig_rate / new_rate * resampled.shape[-1]) :]
    # The tone's first image lies at 0.6 of the old rate; a Blackman window leaks less than 1e-6 that far off.
    assert added.max() < 2e-6 * spectrum.max()


def test_resampling_is_linear():
    first, second = noise(4, 5000).split(2)
    together = resample(0.5 * first - 0.25 * second, 44100, 16000)
    apart = 0.5 * resample(first, 44100, 16000) - 0.25 * resample(second, 44100, 16000)
    torch.testing.assert_close(together, apart, rtol=0, atol=PRECISION)


def test_channels_are_resampled_apart():
    waveform = noise(3, 5000)
    apart = torch.cat([resample(channel[None], 22050, 16000) for channel in waveform])
    assert torch.equal(resample(waveform, 22050, 16000), apart)


def test_the_same_rate_changes_nothing():
    waveform = noise(2, 100)
    assert torch.equal(resample(waveform, 44100, 44100), waveform)


@pytest.mark.parametrize(("orig_rate", "new_rate"), RATES)
def test_the_length_scales_with_the_rate(orig_rate, new_rate):
    for time in [*range(1, 60), 12_345, 44_100]:
        length = resample(torch.zeros(2, time), orig_rate, new_rate).shape[-1]
        assert abs(length - time * new_rate / orig_rate) <= 0.5


@pytest.mark.parametrize(("orig_rate", "new_rate"), RATES)
def test_a_crop_equals_the_slice_of_the_resampled_whole(orig_rate, new_rate):
    waveform = noise(2, 30_001)
    whole = resample(waveform, orig_rate, new_rate)
    generator = np.random.default_rng(0)
    starts = [0, 1, whole.shape[-1] - 1, *generator.integers(whole.shape[-1], size=20)]
    with open_audio(wav(waveform, orig_rate)) as reader:
        for start in map(int, starts):
            count = int(generator.integers(1, 3000))
            crop = read_crop(reader, start, count, sampling_rate=new_rate, audio_channels=2)
            torch.testing.assert_close(crop, whole[:, start : start + count], rtol=0, atol=2 * PRECISION)  # each errs


@pytest.mark.parametrize(("path", "rate"), [(BREAKBEAT, 44100), (BREAKBEAT, 16000), (SPEECH, 44100)])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_crop_of_real_sound_equals_the_slice_of_the_converted_whole(path, rate, channels):
    waveform, orig_rate = read_audio(path)
    whole = convert_channels(resample(waveform, orig_rate, rate), channels)
    with open_audio(path) as reader:
        for start in range(0, whole.shape[-1], 19_973):
            crop = read_crop(reader, start, 4000, sampling_rate=rate, audio_channels=channels)
            torch.testing.assert_close(crop, whole[:, start : start + 4000], rtol=0, atol=2 * PRECISION)


@pytest.mark.parametrize(("orig_rate", "new_rate"), [(44100, 44100), *RATES])
@pytest.mark.parametrize("block", [331, 7000, 40_000])
def test_blocks_are_the_resampled_whole_to_the_last_bit(orig_rate, new_rate, block, monkeypatch):
    monkeypatch.setattr(resampling, "SOURCE_BLOCK", 5000)  # a file of 6 blocks, and one of less than a sample more
    for time in (30_000, 30_001):
        waveform = noise(2, time)
        whole = resample(waveform, orig_rate, new_rate)
        with open_audio(wav(waveform, orig_rate)) as opened:
            reader = ResampledReader(opened, sampling_rate=new_rate, audio_channels=2)
            starts = range(0, whole.shape[-1], block)
            assert torch.equal(torch.cat([reader.read(start, start + block) for start in starts], dim=-1), whole)
            for start in (0, whole.shape[-1] // 2, whole.shape[-1] // 2 + 100, whole.shape[-1] // 3):  # back and forth
                assert torch.equal(reader.read(start, start + 999), whole[:, start : start + 999])


@pytest.mark.parametrize(("orig_rate", "new_rate"), [(44100, 44100), *RATES])
def test_every_sample_counted_at_another_rate_can_be_read(orig_rate, new_rate):
    for time in range(1, 200, 7):
        with open_audio(wav(torch.zeros(1, time), orig_rate)) as reader:
            counted = resampled_length(reader, new_rate)
            assert abs(counted - time * new_rate / orig_rate) < 1
            crop = read_crop(reader, 0, counted, sampling_rate=new_rate, audio_channels=1)
            assert crop.shape[-1] == counted


class CountingReader:
    """A file of noise that notes what it is asked for."""

    sampling_rate, audio_channels, num_samples = 44100, 1, 44100 * 3600

    def __init__(self) -> None:
        self.samples_read = 0

    def read(self, start: int, count: int) -> Tensor:
        self.samples_read += count
        return torch.zeros(1, count)

    def close(self) -> None:
        pass


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_crop_deep_in_a_long_file_asks_for_little_more_than_itself(rate):
    reader = CountingReader()
    crop = read_crop(reader, 1800 * rate, rate, sampling_rate=rate, audio_channels=1)
    assert crop.shape == (1, rate)
    assert reader.samples_read < 1.1 * 44100


def test_blocks_of_a_long_file_are_each_decoded_once():
    reader = CountingReader()
    blocks = ResampledReader(reader, sampling_rate=16000, audio_channels=1)
    for start in range(0, 60 * 16000, 320):
        blocks.read(max(start - 5000, 0), start + 320)  # overlap, as the windows of chunked coding
    assert reader.samples_read <= 60 * 44100 + resampling.SOURCE_BLOCK + 44100


def test_mono_from_many_is_the_mean():
    waveform = noise(5, 100)
    torch.testing.assert_close(convert_channels(waveform, 1), waveform.mean(dim=0, keepdim=True), rtol=0, atol=0)


def test_many_from_mono_are_copies():
    waveform = noise(1, 100)
    many = convert_channels(waveform, 4)
    assert many.shape == (4, 100)
    assert all(torch.equal(channel, waveform[0]) for channel in many)
    many[0] = 0
    assert not torch.equal(many[1], many[0])


def test_an_equal_count_is_unchanged():
    waveform = noise(6, 100)
    assert torch.equal(convert_channels(waveform, 6), waveform)


@pytest.mark.parametrize(("channels", "wanted"), [(2, 6), (6, 2), (3, 4)])
def test_channels_of_unknown_meaning_are_refused_by_their_count(channels, wanted):
    with pytest.raises(ValueError, match=f"{channels} channels, but {wanted} are required"):
        convert_channels(noise(channels, 10), wanted)
    with open_audio(wav(noise(channels, 10), 8000)) as reader, pytest.raises(ValueError, match=f"{channels} channels"):
        read_crop(reader, 0, 10, sampling_rate=16000, audio_channels=wanted)
