"""`docs/metrics.md` has every metric as the code defines it, and its blocks run."""

import re
from pathlib import Path

import pytest

from hf_audio_vae.evaluation import EMBEDDINGS, RECONSTRUCTION_METRICS, set_distances

REPO = Path(__file__).parents[2]
TEXT = (REPO / "docs/metrics.md").read_text()
ROWS = {
    cells[0].split("`")[1]: cells
    for line in TEXT.splitlines()
    if line.startswith("| `") and (cells := [cell.strip() for cell in line.strip("|").split("|")])
}


def test_the_guide_defines_every_metric_as_the_registry_does() -> None:
    for name, metric in RECONSTRUCTION_METRICS.items():
        _, label, definition, _, blind = ROWS[name]
        assert (label, definition) == (metric.label, metric.definition)
        assert blind, name
    assert list(ROWS)[: len(RECONSTRUCTION_METRICS)] == list(RECONSTRUCTION_METRICS)


def test_the_guide_defines_every_embedding_and_distance() -> None:
    assert list(ROWS)[-len(EMBEDDINGS) :] == list(EMBEDDINGS)
    assert all(ROWS[name][1] == definition for name, definition in EMBEDDINGS.items())
    others = ROWS.keys() - EMBEDDINGS.keys() - RECONSTRUCTION_METRICS.keys()
    assert others == {"frechet_distance", "extrapolated_frechet_distance", "kernel_distance"}
    assert all(hasattr(set_distances, name) for name in others)


def test_the_blocks_run_in_order(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(REPO)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, names)
    snr, phase, stereo, frechet, kernel = map(float, capsys.readouterr().out.split())
    assert snr > 10
    assert phase > 0.9
    assert 0 < stereo < 0.1
    assert frechet > 0
    assert kernel > 0
