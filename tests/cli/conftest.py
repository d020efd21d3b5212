"""A small model and short sounds for the tests of verbs."""

from pathlib import Path

import pytest
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import write_audio
from tests.cli.files import RATE, noise


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WaveformVAE(4, (4, 5), (1, 2), 4, 2, 1, RATE).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Two short sounds in a folder."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for number in (1, 2):
        write_audio(folder / f"{number}.wav", noise(RATE // 2, number), RATE)
    return folder
