import importlib
import sys

import pytest


def test_without_librosa_the_help_is_printed_and_its_absence_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "benchmarks.pitch_swap", raising=False)
    pitch_swap = importlib.import_module("benchmarks.pitch_swap")
    with pytest.raises(SystemExit, match="0"):
        pitch_swap.main(["--help"])
    assert "--notes" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        pitch_swap.main(["--model", "nowhere", "--notes", "nowhere"])
    assert (
        capsys.readouterr().err == "error: the pitch tracker needs librosa; install it with `pip install librosa`.\n"
    )
