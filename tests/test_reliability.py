"""The tests that `docs/reliability.md` names exist."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", (REPO / "docs/reliability.md").read_text())


def test_every_fault_names_a_test() -> None:
    rows = [line for line in (REPO / "docs/reliability.md").read_text().splitlines() if line.count(" | ") == 3]
    faults = [row for row in rows if not row.startswith("| fault |")]
    assert len(faults) > 60
    assert [row for row in faults if ".py" not in row and "as above" not in row] == []


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)), ids=lambda part: part or "file")
def test_a_named_test_exists(path: str, name: str) -> None:
    file = next(folder / path for folder in (REPO / "tests", REPO / "benchmarks", REPO) if (folder / path).exists())
    assert f"def {name}" in file.read_text()
