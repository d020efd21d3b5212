"""diffusers keeps the table that `register` writes to for itself; these tests notice if it moves."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedConfig

import hf_audio_vae
from hf_audio_vae import registration


def test_importing_the_package_registers_it() -> None:
    assert LOADABLE_CLASSES["hf_audio_vae"] == {"ModelMixin": ["save_pretrained", "from_pretrained"]}
    assert issubclass(hf_audio_vae.WaveformVAE, hf_audio_vae.ModelMixin)


@pytest.mark.parametrize(
    ("model_class", "config"),
    [
        (
            hf_audio_vae.WaveformVQVAE,
            hf_audio_vae.WaveformVQVAEConfig(
                encoder_hidden_size=2, decoder_hidden_size=4, downsampling_ratios=(2,), hidden_size=4, codebook_size=8
            ),
        ),
        (
            hf_audio_vae.HierarchicalVQVAE,
            hf_audio_vae.HierarchicalVQVAEConfig(width=2, hidden_size=4, codebook_size=8),
        ),
    ],
    ids=["WaveformVQVAE", "HierarchicalVQVAE"],
)
def test_the_classes_of_transformers_load_codecs(model_class: type, config: PreTrainedConfig, tmp_path: Path) -> None:
    model = model_class(config).eval()
    model.save_pretrained(tmp_path)
    hf_audio_vae.WaveformVQVAEFeatureExtractor(1, model.sampling_rate).save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path)
    assert type(loaded) is model_class
    assert AutoConfig.from_pretrained(tmp_path).to_dict() == loaded.config.to_dict()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    sounds = [np.sin(np.arange(length)) for length in (300, 128)]
    batch = extractor(sounds, sampling_rate=model.sampling_rate, return_tensors="pt")
    with torch.no_grad():
        codes, expected = (one.encode(**batch).audio_codes for one in (loaded, model))
        alone = model.encode(torch.tensor(sounds[1][None, None], dtype=torch.float32)).audio_codes
    levels = codes if isinstance(codes, tuple) else (codes,)
    assert all(torch.equal(a, b) for a, b in zip(levels, expected if len(levels) > 1 else (expected,), strict=True))
    own = alone[0] if len(levels) > 1 else alone
    assert torch.equal(levels[0][1:, :, : own.shape[-1]], own)


def test_a_version_without_the_table_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, registration.TABLE, ModuleType("without_table"))
    assert not registration.register()
