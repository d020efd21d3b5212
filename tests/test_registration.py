"""diffusers keeps the table that `register` writes to for itself; these tests notice if it moves."""

import sys
from types import ModuleType

import pytest
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES

import hf_audio_vae
from hf_audio_vae import registration


def test_importing_the_package_registers_it() -> None:
    assert LOADABLE_CLASSES["hf_audio_vae"] == {"ModelMixin": ["save_pretrained", "from_pretrained"]}
    assert issubclass(hf_audio_vae.WaveformVAE, hf_audio_vae.ModelMixin)


def test_a_version_without_the_table_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, registration.TABLE, ModuleType("without_table"))
    assert not registration.register()
