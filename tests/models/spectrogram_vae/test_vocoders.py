import copy

import pytest
import torch

from hf_audio_vae.audio import read_audio, resample
from hf_audio_vae.evaluation.metrics import multi_resolution_stft_distance
from hf_audio_vae.models.spectrogram_vae.vocoders import GriffinLim
from hf_audio_vae.modules.spectrogram import LogMelSpectrogram
from tests.models.probes import assert_equal_within_rounding
from tests.models.spectrogram_vae.test_spectrograms import model_of, noise
from tests.training.runs import REPO

RATE = 16000
MEL = LogMelSpectrogram(1024, 256, 80, sampling_rate=RATE, min_frequency_hz=0.0, max_frequency_hz=8000.0)


def speech() -> torch.Tensor:
    """(1, 1, time), 1.6 s."""
    waveform, rate = read_audio(REPO / "data/held_out/speech_en_0890.flac")
    return resample(waveform, rate, RATE)[None, :1, : 100 * 256]


def zero_phase(vocoder: GriffinLim) -> GriffinLim:
    vocoder._first_phase = torch.zeros_like
    return vocoder


def test_griffin_lim_has_the_mel_spectra_of_real_speech() -> None:
    x = speech()
    mel = MEL(x).mT
    found, without = GriffinLim(MEL)(mel), zero_phase(GriffinLim(MEL, 0))(mel)
    assert found.shape == x.shape
    assert (MEL(found).mT - mel).abs().mean() < 0.12  # 1 dB; measured: 0.097, with zero phases 3.1
    assert multi_resolution_stft_distance(found, x) < multi_resolution_stft_distance(without, x) / 3


def test_griffin_lim_gives_each_item_its_level_and_is_deterministic() -> None:
    x = torch.cat([noise(1, 2, 2560), 0.01 * noise(1, 2, 2560)])
    mel = MEL(x).mT
    vocoder = GriffinLim(MEL, 8)
    found = vocoder(mel)
    assert torch.equal(copy.deepcopy(vocoder)(mel), found)
    ratio = found.square().mean(dim=-1).sqrt() / x.square().mean(dim=-1).sqrt()
    assert ((ratio > 0.5) & (ratio < 1.5)).all()
    assert_equal_within_rounding(GriffinLim(MEL, 1)(mel)[1:], GriffinLim(MEL, 1)(mel[1:]), operations=1000)


def test_log_mel_is_that_of_hifi_gan() -> None:
    """Magnitudes of a centred window, not scaled, and filters as `librosa.filters.mel`; see test_spectrogram.py."""
    x = speech().double()
    window = torch.hann_window(1024, dtype=torch.float64)
    padded = torch.nn.functional.pad(x[0], (384, 384))
    magnitudes = torch.stft(padded, 1024, 256, window=window, center=False, return_complex=True).abs()
    expected = (MEL.filters(x) @ magnitudes).clamp_min(1e-5).log()
    torch.testing.assert_close(MEL(x)[0], expected, rtol=0, atol=1e-3)  # our window is in float32


def test_silence_stays_silent() -> None:
    mel = MEL(torch.zeros(1, 1, 2560)).mT
    assert torch.equal(mel, torch.full_like(mel, torch.tensor(1e-5).log().item()))
    assert GriffinLim(MEL)(mel).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["mel_bins", "sampling_rate", "hop_length"])
def test_a_vocoder_of_other_mel_spectra_is_refused(name: str) -> None:
    model = model_of("mel")
    other = copy.copy(model.vocoder)
    setattr(other, name, 77)
    own = getattr(model.vocoder, name)
    with pytest.raises(ValueError, match=rf"the vocoder takes .*`{name}` 77.*the model decodes .*`{name}` {own}"):
        model.set_vocoder(other)
    with pytest.raises(ValueError, match="'complex' needs no vocoder"):
        model_of("complex").set_vocoder(other)


@torch.no_grad()
def test_another_vocoder_makes_the_waveform() -> None:
    class Ones(GriffinLim):
        def __call__(self, mel: torch.Tensor) -> torch.Tensor:
            return mel.new_ones(*mel.shape[:2], mel.shape[2] * self.hop_length)

    model = model_of("mel")
    model.set_vocoder(Ones(model.encoder.before))
    assert torch.equal(model(noise(1, 1, 100)).sample, torch.ones(1, 1, 100))
