"""What every tab relies on: sounds within limits, errors in one line, and attributes of the right model."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.files.location import DEFAULT_MODEL
from hf_audio_vae.latents import AttributeVector
from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.studio.workshop import Workshop, decode, encode, reconstruct
from tests.studio.parts import HELD_OUT


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    model = load_autoencoder(DEFAULT_MODEL).eval()
    return Workshop({DEFAULT_MODEL: model}, tmp_path_factory.mktemp("sounds"), max_seconds=2.0)


def test_a_sound_is_read_at_the_rate_and_with_the_channels_of_the_model(studio: Workshop) -> None:
    model = studio.models[DEFAULT_MODEL]
    waveform = studio.read(str(HELD_OUT / "loop_breakbeat.flac"), model)  # 44.1 kHz, stereo, 1.905 s
    assert waveform.shape == (1, round(1.905 * 24000)) or abs(waveform.shape[-1] / 24000 - 1.905) < 1e-3
    original, rate = studio.read_original(str(HELD_OUT / "loop_breakbeat.flac"))
    assert rate == 44100
    assert torch.equal(original, read_audio(HELD_OUT / "loop_breakbeat.flac")[0])


def test_what_is_no_usable_sound_is_one_line_without_the_folder(studio: Workshop, tmp_path: Path) -> None:
    text = tmp_path / "song.wav"
    text.write_text("not a sound")
    write_audio(tmp_path / "long.wav", torch.zeros(1, 24100), 8000)
    model = studio.models[DEFAULT_MODEL]
    for path, message in (
        (None, "there is no sound yet; upload or record one"),
        (text, "song.wav"),
        (tmp_path / "long.wav", r"the sound has 3\.01 s; use one of at most 2 s"),
    ):
        for read in (lambda name: studio.read(name, model), studio.read_original):
            with pytest.raises(ValueError, match=message) as error:
                read(None if path is None else str(path))
            assert str(tmp_path) not in str(error.value)


def test_latents_of_a_sound_decode_to_its_reconstruction(studio: Workshop) -> None:
    model = studio.latent_models[DEFAULT_MODEL]
    waveform = studio.read(str(HELD_OUT / "tabla_na.flac"), model)
    decoded = decode(model, encode(model, waveform), waveform.shape[-1])
    torch.testing.assert_close(decoded, reconstruct(model, waveform))


def test_written_sounds_keep_their_level_and_rate(studio: Workshop) -> None:
    waveform = 0.25 * torch.sin(torch.arange(1000) / 5)[None]
    read, rate = read_audio(studio.write(waveform, 24000))
    assert rate == 24000
    torch.testing.assert_close(read, waveform)
    with pytest.raises(ValueError, match="NaN or infinite"):
        studio.write(torch.full((1, 10), torch.nan), 24000)


def test_an_attribute_of_another_model_is_refused(studio: Workshop) -> None:
    other = AttributeVector("other", torch.ones(64), "0" * 64)
    with pytest.raises(ValueError, match="other belongs to none of the models stft-vae-24khz"):
        replace(studio, vectors={"other": other})
    with pytest.raises(ValueError, match="`models` is empty"):
        replace(studio, models={})


def test_a_model_named_like_the_original_is_refused(studio: Workshop) -> None:
    with pytest.raises(ValueError, match="a model is named 'original'"):
        replace(studio, models={"original": studio.models[DEFAULT_MODEL]})
