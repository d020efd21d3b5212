"""Embeddings without the Hub: names, resampling, mel statistics, and musicnn against the original."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import read_audio, resample
from hf_audio_vae.evaluation.embeddings import EMBEDDINGS, HUB_MODELS, MusicnnEmbedding, embed, embedding_of
from hf_audio_vae.evaluation.embeddings.log_mel import LogMelEmbedding
from hf_audio_vae.evaluation.set_distances import kernel_distance
from tests.evaluation.test_metrics import noise, sound

DATA = Path(__file__).parents[3] / "data/held_out"
LOCAL = [name for name in EMBEDDINGS if name not in HUB_MODELS]


def tone(frequency: float, sampling_rate: int, seconds: float = 2.0, amplitude: float = 0.5) -> Tensor:
    time = torch.arange(round(seconds * sampling_rate)).double() / sampling_rate  # float32 would round the phase
    return amplitude * torch.sin(2 * math.pi * frequency * time)[None].float()


def test_musicnn_equals_the_original() -> None:
    # librosa's mel spectrogram with reflection padding, then TensorFlow with the original checkpoint.
    reference = torch.tensor(json.loads((Path(__file__).parent / "musicnn_musicbox.json").read_text()))
    waveform, sampling_rate = read_audio(DATA / "music_musicbox.ogg")
    embedding = embed(MusicnnEmbedding(), waveform, sampling_rate)
    torch.testing.assert_close(embedding, reference, rtol=0, atol=1e-4)


def test_musicnn_repeats_a_short_clip_and_leaves_a_rest_out() -> None:
    embedding, frames = MusicnnEmbedding(), 187 * 256
    waveform = noise(1, 2 * frames)
    assert embedding(waveform[:, :1]).shape == (2, 128)
    assert embedding(waveform[:, : frames - 256]).shape == (2, 128)
    # 187 frames are centred at multiples of 256 samples from 0.
    assert embedding(waveform[:, : frames - 256 + 1]).shape == (2, 128)
    assert embedding(waveform).shape == (4, 128)
    assert embedding(torch.zeros(2, 20_000)).isfinite().all()


def test_log_mel_tells_the_level_of_a_tone() -> None:
    sampling_rate = 44100
    embedding = LogMelEmbedding(sampling_rate)
    loud, soft = (embedding(tone(1000, sampling_rate, amplitude=a)) for a in (0.5, 0.05))
    mean, std = loud.chunk(2, dim=1)
    band = int(mean[1].argmax())
    assert (mean[1, band] - soft[1, band]).item() == pytest.approx(20, abs=0.1)
    assert std[1, band].item() < 0.1  # a steady tone; the first segment has the reflected start
    assert mean.min().item() == pytest.approx(-90)  # bands far away
    assert embedding(torch.zeros(1, 44100)).eq(torch.tensor([-90.0] * 64 + [0.0] * 64)).all()


@pytest.mark.parametrize("sampling_rate", [8000, 16000, 24000, 44100, 48000, 96000])
def test_log_mel_hears_the_whole_band(sampling_rate: int) -> None:
    embedding = LogMelEmbedding(sampling_rate)
    means = [
        embedding(tone(share * sampling_rate, sampling_rate, amplitude=0.5))[1, :64]
        for share in (0.01, 0.1, 0.3, 0.48)
    ]
    bands = [int(mean.argmax()) for mean in means]
    assert bands == sorted(set(bands))
    assert all(mean.max() > -60 for mean in means)


def test_musicnn_is_deaf_above_8_khz_and_log_mel_is_not() -> None:
    target, sampling_rate = sound("music_musicbox.ogg", seconds=4)
    faded = tone(12_000, sampling_rate, seconds=4) * torch.hann_window(target.shape[-1])  # a start has all frequencies
    high = target[0] + 0.1 * faded
    for name, deaf in (("musicnn", True), ("log_mel", False)):
        embedding = embedding_of(name, sampling_rate=sampling_rate)
        difference = (embed(embedding, high, sampling_rate) - embed(embedding, target[0], sampling_rate)).abs().max()
        assert (difference < 1e-2) == deaf, name


@pytest.mark.parametrize("name", LOCAL)
def test_clips_are_resampled_and_mixed_down(name: str) -> None:
    embedding = embedding_of(name, sampling_rate=16000)
    mono = noise(1, 4 * 16000)
    stereo = resample(torch.cat((2 * mono, torch.zeros_like(mono))), 16000, 48000)
    expected, value = embedding(mono), embed(embedding, stereo, 48000)
    assert value.shape == expected.shape
    assert (value - expected).abs().median() < 0.05  # but for the filter near 8 kHz
    assert value.dtype == torch.float32


@pytest.mark.parametrize("name", LOCAL)
def test_any_length_has_a_frame(name: str) -> None:
    embedding = embedding_of(name, sampling_rate=16000)
    for time in (1, 100, 7999, 8001):
        assert embedding(noise(1, time)).shape[0] >= 1


@pytest.mark.parametrize("name", LOCAL)
def test_noise_increases_the_distance_to_the_original(name: str) -> None:
    target, sampling_rate = sound("music_musicbox.ogg", seconds=8)
    embedding = embedding_of(name, sampling_rate=sampling_rate)
    original = embed(embedding, target[0], sampling_rate)
    distances = [
        kernel_distance(
            embed(embedding, target[0] + level * noise(*target[0].shape), sampling_rate), original, paired=True
        )
        for level in (0.0, 0.003, 0.03, 0.3)
    ]
    assert distances[0] == 0
    assert distances == sorted(set(distances))


def test_faults_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"no embedding 'vggish'; choose from log_mel, musicnn, clap, mert, encodec\."
    ):
        embedding_of("vggish")
    with pytest.raises(ValueError, match="needs the `sampling_rate`"):
        embedding_of("log_mel")
    with pytest.raises(ValueError, match="`model` 'x' has no effect on the embedding 'musicnn'"):
        embedding_of("musicnn", model="x")
    with pytest.raises(ValueError, match=r"shape \(1, 0\)"):
        embed(embedding_of("musicnn"), torch.zeros(1, 0), 16000)


@pytest.mark.parametrize("sampling_rate", [1, 40, 66, 1000])
def test_a_rate_at_which_bands_are_empty_is_refused(sampling_rate: int) -> None:
    with pytest.raises(ValueError, match=f"{sampling_rate} Hz, at which some of the 64 bands of log_mel are empty"):
        LogMelEmbedding(sampling_rate)
    lowest = LogMelEmbedding(2000)
    assert bool(lowest(torch.randn(1, 2000, generator=torch.Generator().manual_seed(0))).isfinite().all())
