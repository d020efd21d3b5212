"""The measurements for a GPU, at tiny size on the CPU, so that they run the first time on a GPU."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[2]
SECTIONS = ["roofline", "kernels", "coding", "training", "search", "train"]


def cuda(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/cuda.py", *options], cwd=REPO, capture_output=True, text=True, timeout=600
    )


def test_a_dry_run_goes_through_every_section(tmp_path: Path) -> None:
    finished = cuda("--dry_run", "--output_dir", str(tmp_path))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    sections = {
        section["section"]: section for section in json.loads((tmp_path / "cuda.json").read_text())["sections"]
    }
    assert list(sections) == SECTIONS
    assert not [section for section in sections.values() if section["skipped"] or section["failed"]]
    tables = {table["title"]: table["rows"] for section in sections.values() for table in section["tables"]}
    assert any("45 cases over the largest value, 0 wrong" in title for title in tables)
    for task, (kind, limit) in product(
        ("encode", "decode"), {"float32 with TF32 convolutions": 1e-5, "bfloat16": 5e-2}.items()
    ):
        rows = tables[f"{task}, {kind}, 0.02 s, batch 1"]
        assert len(rows) == 6, "forms"
        assert all(row[5] < limit for row in rows), "errors"
        assert all(row[4] > 0 for row in rows), "shares of the roofline"
    losses = tables["Losses on one batch"]
    assert [row[3] for row in losses] == ["2 of 2"] * 6
    assert [row[4] for row in tables["Compiled networks"]] == ["0"], "graph breaks"
    searches = [rows for title, rows in tables.items() if title.startswith("Search")]
    assert len(searches) == 2
    assert all(row[4] == 1 for rows in searches for row in rows), "equal codes"
    model = sorted((tmp_path / "trained/model").glob("*.safetensors"))
    assert model
    assert all(path.stat().st_size <= 16e6 for path in model)
    text = (tmp_path / "cuda.md").read_text()
    assert all(f"## {name} (" in text for name in SECTIONS)


def test_a_section_that_fails_leaves_the_others_and_the_exit_code_says_so(tmp_path: Path) -> None:
    options = ("--dry_run", "--output_dir", str(tmp_path), "--only", "roofline", "train", "--recipe", "no-such-recipe")
    finished = cuda(*options)
    assert finished.returncode == 1
    first, second = json.loads((tmp_path / "cuda.json").read_text())["sections"]
    assert first["tables"] and not first["failed"]
    assert "no-such-recipe" in second["failed"][0]


def test_without_a_gpu_the_dry_run_is_named() -> None:
    finished = cuda("--only", "roofline")
    assert finished.returncode == 2
    assert "use --dry_run" in finished.stderr
