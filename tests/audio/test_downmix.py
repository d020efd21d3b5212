from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hf_audio_vae.audio import open_audio, write_audio
from hf_audio_vae.audio.downmix import noticing_cancellation
from tests.cli.files import RATE, noise

WARNING = "its 2 channels cancel, and their mean is more than 60 dB below them; invert the phase of one."


@pytest.mark.parametrize(
    ("second", "audio_channels", "is_told"),
    [
        (lambda left: -left, 1, True),
        (lambda left: -left * (1 + 1e-3), 1, True),  # the mean is 66 dB below
        (lambda left: -left * (1 + 4e-3), 1, False),  # 54 dB below
        (lambda left: -left, 2, False),
        (lambda left: noise(len(left[0]), 1), 1, False),
    ],
)
def test_channels_that_cancel_are_told_once(
    second: Callable[[torch.Tensor], torch.Tensor],
    audio_channels: int,
    is_told: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_audio(path := tmp_path / "a.wav", torch.cat([noise(4000), second(noise(4000))]), RATE)
    for _ in range(2):
        with open_audio(path) as opened, noticing_cancellation(opened, audio_channels, lambda: str(path)) as reader:
            assert torch.equal(reader.read(100, 500)[0], noise(4000)[0, 100:600])
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {WARNING}"] * is_told


def test_silence_is_no_cancellation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_audio(path := tmp_path / "a.wav", torch.zeros(2, 4000), RATE)
    with open_audio(path) as opened, noticing_cancellation(opened, 1, lambda: str(path)) as reader:
        reader.read(0, 4000)
    assert not caplog.records
