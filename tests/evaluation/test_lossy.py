import pytest
import torch

from hf_audio_vae.audio import read_audio, resample
from hf_audio_vae.evaluation.lossy import opus
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
