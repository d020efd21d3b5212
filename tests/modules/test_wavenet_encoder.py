from pathlib import Path

import pytest
import torch

from hf_audio_vae.data import clip_starts, load_audio_stream
from hf_audio_vae.modules.wavenet import LogMagnitude, WaveNetEncoder

HELD_OUT = Path(__file__).parents[2] / "data/held_out"


def test_magnitudes_do_not_depend_on_the_phase_and_silence_is_zero() -> None:
    angles = torch.linspace(0, 6, 50)
    spectra = torch.stack([angles.cos(), angles.sin()])[None]
    magnitudes = LogMagnitude()(spectra)
    torch.testing.assert_close(magnitudes, magnitudes[..., :1].expand_as(magnitudes))
    torch.testing.assert_close(magnitudes[0, 0, 0], torch.tensor(1 + 1e8).log() / 6)
    assert LogMagnitude()(torch.zeros(1, 2, 1)).item() == 0


def new_encoder() -> WaveNetEncoder:
    torch.manual_seed(0)
    return WaveNetEncoder(1, 32, (80, 4), (1, 3), 16, 1024)


@torch.no_grad()
def test_a_new_encoder_tells_tones_apart_that_differ_in_pitch_alone() -> None:
    """Without it, a decoder learns without latents: those of tones were equal but for the ends of the signal."""
    time = torch.arange(3200) / 16000
    tones = torch.stack([0.3 * (2 * torch.pi * pitch * time).sin() for pitch in (220, 247, 440, 880)])[:, None]
    means = new_encoder()(tones)[:, :16, 3:7]
    between, within = means.mean(dim=2).var(dim=0).mean(), means.var(dim=2).mean()
    assert between > 0.02
    assert between > 10 * within


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_frames_of_a_new_encoder_differ_from_sound_to_sound(gain: float) -> None:
    encoder = new_encoder()
    stream = load_audio_stream(str(HELD_OUT))
    sounds = [gain * clip for _, clip in clip_starts(stream, sampling_rate=16000, audio_channels=1, max_seconds=0.2)]
    with torch.no_grad():
        frames = torch.cat([encoder(sound[None, :, : 320 * (sound.shape[-1] // 320)])[0] for sound in sounds], dim=1)
    means, noise = frames[:16], torch.nn.functional.softplus(frames[16:])
    assert means.var(dim=1).mean() > 0.02
    assert means.var(dim=1).mean() > noise.square().mean()
