"""The examples in docstrings run."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

SOURCE = Path(__file__).parents[1] / "src"
MODULES = [
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in sorted((SOURCE / "hf_audio_vae").rglob("*.py"))
    if ">>> " in path.read_text()
]


SLOW = {"hf_audio_vae.models.exporting": pytest.mark.slow}


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in MODULES])
def test_examples_of(name: str) -> None:
    failed, attempted = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert attempted
    assert not failed
