"""diffusers keeps the table that `register` writes to for itself; these tests notice if it moves."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, PreTrainedConfig

import hf_audio_vae
from hf_audio_vae import registration

SAVED = Path(__file__).parent / "saved"


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


LOADERS = """
import json, sys
import diffusers, transformers

loaders = {
    "AutoModelForAudioTokenization": lambda: transformers.AutoModelForAudioTokenization.from_pretrained("codec"),
    "transformers.AutoModel": lambda: transformers.AutoModel.from_pretrained("codec"),
    "diffusers.AutoModel": lambda: diffusers.AutoModel.from_pretrained("vae"),
    "diffusers.AutoModel, subfolder": lambda: diffusers.AutoModel.from_pretrained("pipeline", subfolder="vae"),
    "DiffusionPipeline": lambda: diffusers.DiffusionPipeline.from_pretrained("pipeline"),
}
loaded = {}
for name, load in loaders.items():
    try:
        loaded[name] = type(load()).__name__
    except (ValueError, AttributeError):
        loaded[name] = None
print(json.dumps(loaded))
"""


@pytest.mark.slow
@pytest.mark.parametrize("imported", [True, False])
def test_the_auto_classes_load_saved_folders_in_a_process_that_has_imported_the_package(
    tmp_path: Path, imported: bool
) -> None:
    hf_audio_vae.WaveformVAE(4, (2,), (1,), 4, 2, 1, 8000).save_pretrained(tmp_path / "vae")
    config = hf_audio_vae.HierarchicalVQVAEConfig(width=2, hidden_size=4, codebook_size=8)
    hf_audio_vae.HierarchicalVQVAE(config).save_pretrained(tmp_path / "codec")
    shutil.copytree(SAVED / "pipeline", tmp_path / "pipeline")
    program = ("import hf_audio_vae\n" if imported else "") + LOADERS
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    classes = {
        "AutoModelForAudioTokenization": "HierarchicalVQVAE",
        "transformers.AutoModel": "HierarchicalVQVAE",
        "diffusers.AutoModel": "WaveformVAE",
        "diffusers.AutoModel, subfolder": "WaveformVAE",
        "DiffusionPipeline": "AudioLatentDiffusionPipeline",
    }
    # Without the import, the libraries know none of these classes: cards and documentation name the import.
    assert json.loads(ran.stdout) == (classes if imported else dict.fromkeys(classes))


def test_a_class_of_diffusers_itself_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert diffusers.WaveformVAE is hf_audio_vae.WaveformVAE
    monkeypatch.setattr(diffusers, "WaveformVAE", "theirs")
    registration.register()
    assert diffusers.WaveformVAE == "theirs"


def test_a_version_without_the_table_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, registration.TABLE, ModuleType("without_table"))
    assert not registration.register()
