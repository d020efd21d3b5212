"""What the trackers get to hear."""

from types import SimpleNamespace
from typing import Any, cast

import torch
from accelerate import Accelerator

from hf_audio_vae.training.autoencoder.tracking import log_reconstructions
from hf_audio_vae.training.autoencoder.validation import Clip


def test_the_sounds_are_spread_over_the_clips_and_equal_names_do_not_replace_each_other() -> None:
    heard: dict[str, torch.Tensor] = {}

    def add_audio(name: str, sound: torch.Tensor, **_: Any) -> None:
        heard[name] = sound

    writer = SimpleNamespace(add_audio=add_audio, add_image=lambda *_, **__: None)
    trackers = [SimpleNamespace(name="tensorboard", writer=writer)]
    accelerator = cast(Accelerator, SimpleNamespace(trackers=trackers))
    names = ["bell", "kick", "clap", "voice", "kick"]
    clips = [Clip(name, torch.full((1, 4000), i / 10)) for i, name in enumerate(names)]
    decoded = [-clip.waveform for clip in clips]
    log_reconstructions(accelerator, clips, decoded, 8000, 0, count=3)
    values = {name: round(sound[0, 0].item(), 1) for name, sound in heard.items()}
    assert values == {
        "bell/original": 0.0,
        "bell/reconstruction": 0.0,
        "clap/original": 0.2,
        "clap/reconstruction": -0.2,
        "kick-4/original": 0.4,
        "kick-4/reconstruction": -0.4,
    }
    heard.clear()
    log_reconstructions(accelerator, clips, decoded, 8000, 10, count=9)
    assert sorted(heard) == [f"{name}/reconstruction" for name in ("bell", "clap", "kick-1", "kick-4", "voice")]
