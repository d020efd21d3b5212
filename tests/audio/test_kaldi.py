"""Our filter bank against those of transformers (NumPy) and of torchaudio."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import SeamlessM4TFeatureExtractor

from hf_audio_vae.audio.kaldi import kaldi_filter_bank, mel_filters


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_energies_equal_those_of_transformers() -> None:
    x = noise(16000)
    reference = SeamlessM4TFeatureExtractor()._extract_fbank_features(x.numpy())
    ours = kaldi_filter_bank(x)
    assert ours.shape == (98, 80)
    assert float(np.abs(ours.numpy() - reference).max()) < 1e-3  # of logarithms from 10 to 25
    assert float(ours.std()) > 0.5


def test_energies_equal_those_of_torchaudio() -> None:
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    x = noise(2, 4000)
    options = {"num_mel_bins": 80, "sample_frequency": 16000, "high_freq": 8000, "low_freq": 20, "dither": 0.0}
    reference = torch.stack([kaldi.fbank(item[None] * 2**15, **options) for item in x])
    assert torch.equal(kaldi_filter_bank(x), reference)


def test_an_item_does_not_depend_on_its_batch() -> None:
    x = noise(3, 4000)
    torch.testing.assert_close(kaldi_filter_bank(x)[1], kaldi_filter_bank(x[1]), rtol=0, atol=1e-5)


def test_a_tone_is_in_the_filter_around_its_frequency() -> None:
    filters = mel_filters(torch.device("cpu"))
    time = torch.arange(16000) / 16000
    for hz in (300.0, 1000.0, 4000.0):
        loudest = kaldi_filter_bank(torch.sin(2 * torch.pi * hz * time)).mean(dim=0).argmax()
        assert loudest == filters[:, round(hz / 16000 * 512)].argmax()


def test_a_constant_is_silence() -> None:
    assert kaldi_filter_bank(torch.full((800,), 0.5)).max() < 0
