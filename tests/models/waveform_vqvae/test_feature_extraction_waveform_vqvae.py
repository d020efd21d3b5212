import logging

import numpy as np
import pytest
import torch

from hf_audio_vae.models.waveform_vqvae.feature_extraction_waveform_vqvae import WaveformVQVAEFeatureExtractor


def sound(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def mono() -> WaveformVQVAEFeatureExtractor:
    return WaveformVQVAEFeatureExtractor(1, 16000)


@pytest.fixture
def stereo() -> WaveformVQVAEFeatureExtractor:
    return WaveformVQVAEFeatureExtractor(2, 16000)


@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: x[None], torch.tensor, list, lambda x: [x], lambda x: [list(x)]]
)
def test_one_mono_sound_in_every_form(form, mono):
    x = sound(50)
    batch = mono(form(x), sampling_rate=16000, return_tensors="pt")
    assert torch.equal(batch["input_values"], torch.tensor(x)[None, None])
    assert batch["padding_mask"].tolist() == [[1] * 50]


@pytest.mark.parametrize(
    "form", [lambda x: x, torch.tensor, list, lambda x: [x], lambda x: x[None], lambda x: x.tolist()]
)
def test_one_stereo_sound_in_every_form(form, stereo):
    x = sound(2, 50)
    batch = stereo(form(x), sampling_rate=16000, return_tensors="pt")
    assert torch.equal(batch["input_values"], torch.tensor(x)[None])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_shorter_sounds_are_padded_on_the_right(channels):
    extractor = WaveformVQVAEFeatureExtractor(channels, 16000)
    short, long = sound(channels, 30), sound(channels, 50)
    batch = extractor([short, long], sampling_rate=16000, return_tensors="pt")
    assert batch["input_values"].shape == (2, channels, 50)
    assert torch.equal(batch["input_values"][0, :, :30], torch.tensor(short))
    assert not batch["input_values"][0, :, 30:].any()
    assert batch["padding_mask"].tolist() == [[1] * 30 + [0] * 20, [1] * 50]


def test_to_a_length_and_no_longer(stereo):
    batch = stereo([sound(2, 30), sound(2, 50)], "max_length", True, 40, "np", 16000)
    assert batch["input_values"].shape == (2, 2, 40)
    assert batch["padding_mask"].sum(axis=1).tolist() == [30, 40]
    unpadded = stereo([sound(2, 30), sound(2, 50)], padding=False, sampling_rate=16000)
    assert [value.shape for value in unpadded["input_values"]] == [(2, 30), (2, 50)]
    assert "padding_mask" not in unpadded


def test_what_is_wrong_is_refused(mono, stereo, caplog):
    with pytest.raises(ValueError, match="44100 Hz.*16000 Hz; resample"):
        mono(sound(50), sampling_rate=44100)
    for extractor, x in ((mono, sound(2, 50)), (stereo, sound(50)), (stereo, sound(50, 2)), (mono, sound(0))):
        with pytest.raises(ValueError, match="a sound has shape"):
            extractor(x, sampling_rate=16000)
    with pytest.raises(ValueError, match="needs a `max_length`"):
        mono(sound(50), padding="max_length", sampling_rate=16000)
    with pytest.raises(ValueError, match="'left'"):
        WaveformVQVAEFeatureExtractor(1, 16000, padding_side="left")
    with caplog.at_level(logging.WARNING):
        mono(sound(50))
    assert "`sampling_rate` was not given" in caplog.text


@pytest.mark.parametrize("form", [lambda x: x, torch.tensor, lambda x: [x], list, lambda x: x.tolist()])
def test_pcm_is_refused(form, mono):
    with pytest.raises(ValueError, match="dtype int.*int16 by 32768"):
        mono(form(np.array([0, 32767, -32768], dtype=np.int16)), sampling_rate=16000)


def test_a_list_of_floats_may_begin_with_a_whole_number(mono, stereo):
    assert mono([0, 0.5, -1], sampling_rate=16000)["input_values"][0].tolist() == [[0, 0.5, -1]]
    assert stereo([[0, 0], [0.5, -1]], sampling_rate=16000)["input_values"][0].tolist() == [[0, 0], [0.5, -1]]


def test_what_is_not_finite_is_refused(mono, stereo):
    for value in (np.nan, np.inf, -np.inf):
        for extractor, x in ((mono, sound(50)), (stereo, sound(2, 50))):
            x[..., 7] = value
            with pytest.raises(ValueError, match=f"holds {extractor.feature_size} values.*repair"):
                extractor([x, x], sampling_rate=16000)


def test_it_is_saved_and_loaded(stereo, tmp_path):
    stereo.save_pretrained(tmp_path)
    assert (tmp_path / "preprocessor_config.json").is_file()
    loaded = WaveformVQVAEFeatureExtractor.from_pretrained(tmp_path)
    assert (loaded.feature_size, loaded.sampling_rate) == (2, 16000)
