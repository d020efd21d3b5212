from pathlib import Path

import pytest
import torch

from hf_audio_vae.data import clip_starts, load_audio_stream
from hf_audio_vae.modules.wavenet import Compand, WaveNetEncoder

HELD_OUT = Path(__file__).parents[2] / "data/held_out"


def test_companding_is_that_of_g711_with_all_levels_of_its_inverse() -> None:
    y = torch.linspace(-1, 1, 41, dtype=torch.float64)
    x = y.sign() * (256 ** y.abs() - 1) / 255
    torch.testing.assert_close(Compand()(x), y)


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_frames_of_a_new_encoder_differ_from_sound_to_sound(gain: float) -> None:
    torch.manual_seed(0)
    encoder = WaveNetEncoder(1, 32, (4, 4, 4, 5), (1, 3), 16)
    stream = load_audio_stream(str(HELD_OUT))
    sounds = [gain * clip for _, clip in clip_starts(stream, sampling_rate=16000, audio_channels=1, max_seconds=0.2)]
    with torch.no_grad():
        frames = torch.cat([encoder(sound[None, :, : 320 * (sound.shape[-1] // 320)])[0] for sound in sounds], dim=1)
    means, noise = frames[:16], torch.nn.functional.softplus(frames[16:])
    assert means.var(dim=1).mean() > 0.02
    assert means.var(dim=1).mean() > noise.square().mean()
