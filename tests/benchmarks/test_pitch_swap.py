import importlib
import sys
from pathlib import Path

import pytest


def test_without_librosa_the_help_is_printed_and_its_absence_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "pitch_swap", raising=False)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))  # as for `python benchmarks/NAME.py`
    pitch_swap = importlib.import_module("pitch_swap")
    with pytest.raises(SystemExit, match="0"):
        pitch_swap.main(["--help"])
    assert "--notes" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        pitch_swap.main(["--model", "nowhere", "--notes", str(Path(__file__).parent)])
    assert (
        capsys.readouterr().err == "error: the pitch tracker needs librosa; install it with `pip install librosa`.\n"
    )
