"""The start of a sound as MP3."""

import io

import pytest
import soundfile
import torch
from torch import Tensor

from hf_audio_vae.evaluation.sound_maps import mp3_preview


def tone(rate: int, seconds: float, channels: int = 1, frequency: float = 220.0) -> Tensor:
    time = torch.arange(round(rate * seconds)) / rate
    return 0.5 * torch.sin(2 * torch.pi * frequency * time).expand(channels, -1).contiguous()


def decoded(encoded: bytes) -> tuple[Tensor, int]:
    samples, rate = soundfile.read(io.BytesIO(encoded), dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 24000, 44100])
def test_the_start_is_kept_with_its_length_channels_and_sound(rate: int, channels: int) -> None:
    sound = tone(rate, 2.0, channels)
    sound[:, rate:] = 0
    preview, found = decoded(mp3_preview(sound, rate, 0.75))
    assert found == rate and preview.shape == (channels, round(0.75 * rate))
    kept = preview.shape[-1] * 9 // 10
    error = preview[:, :kept] - sound[:, :kept]
    assert float(error.square().mean() / sound[:, :kept].square().mean()) < 0.01
    whole, _ = decoded(mp3_preview(sound, rate, 99.0))
    assert whole.shape == sound.shape


@pytest.mark.parametrize(("rate", "coded"), [(4000, 8000), (30000, 32000), (96000, 48000)])
def test_a_rate_that_mp3_lacks_becomes_the_next_one(rate: int, coded: int) -> None:
    preview, found = decoded(mp3_preview(tone(rate, 0.5), rate, 1.0))
    assert found == coded and preview.shape[-1] == coded // 2
    torch.testing.assert_close(preview.std(), tone(rate, 0.5).std(), rtol=0.05, atol=0)


def test_only_a_cut_is_faded_out() -> None:
    rate = 24000
    sound = torch.ones(1, rate) * 0.5 * (-1) ** (torch.arange(rate) // 50)  # no zero at any end
    cut, _ = decoded(mp3_preview(sound, rate, 0.5))
    whole, _ = decoded(mp3_preview(sound[:, : rate // 2], rate, 0.5))
    assert cut[0, -24:].abs().max() < 0.15 < 0.3 < whole[0, -24:].abs().max()


def test_a_single_sample_and_samples_beyond_full_scale_are_coded() -> None:
    assert decoded(mp3_preview(torch.ones(1, 1), 24000, 3.0))[0].shape == (1, 1)
    assert decoded(mp3_preview(10 * tone(24000, 0.5), 24000, 3.0))[0].abs().max() < 1.5
    assert decoded(mp3_preview(tone(24000, 0.1, channels=6), 24000, 3.0))[0].shape == (1, 2400)


def test_no_sound_is_refused() -> None:
    with pytest.raises(ValueError, match="are no sound"):
        mp3_preview(torch.zeros(1, 100), 24000, 1e-6)
    with pytest.raises(ValueError, match="are no sound"):
        mp3_preview(torch.zeros(1, 0), 24000, 1.0)
