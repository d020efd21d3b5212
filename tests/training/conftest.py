from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data import CropBatch, CropStream, StreamLoader, load_audio_stream

DATA = Path(__file__).parents[2] / "data/train"
RATE = 8000


@pytest.fixture
def batches() -> list[CropBatch]:
    """Three batches of four crops of real sound, 900 samples each."""
    stream = CropStream(
        load_audio_stream(str(DATA)), sampling_rate=RATE, audio_channels=1, crop_length=900, batch_size=4, seed=0
    )
    return list(islice(StreamLoader(stream), 3))


@pytest.fixture
def batch(batches: list[CropBatch]) -> CropBatch:
    return batches[0]


@pytest.fixture
def model() -> WaveformVAE:
    torch.manual_seed(0)
    return WaveformVAE(4, (2, 3), (1, 2), 4, 2, 1, RATE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight files of noise."""
    path = tmp_path / "sound"
    path.mkdir()
    generator = np.random.default_rng(0)
    for i in range(8):
        samples = generator.normal(0, 0.1, RATE // 4).astype(np.float32)
        soundfile.write(path / f"{i}.wav", samples, RATE, "FLOAT")
    return path
