"""Options of the interpreter that remove assertions and docstrings."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
FILES = sorted([*(REPO / "src").rglob("*.py"), *(REPO / "training").rglob("*.py")])


def test_no_code_depends_on_assertions() -> None:
    assert not [
        str(path) for path in FILES for node in ast.walk(ast.parse(path.read_text())) if type(node) is ast.Assert
    ]


@pytest.mark.parametrize(
    "program", [["-m", "hf_audio_vae.cli.main", "--help"], ["-c", "import hf_audio_vae"]], ids=["command", "package"]
)
def test_an_interpreter_without_docstrings_is_refused_in_one_line(program: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPO / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    finished = subprocess.run([sys.executable, "-OO", *program], capture_output=True, text=True, env=environment)
    assert finished.returncode == 1
    assert finished.stderr == (
        "hf-audio-vae: transformers needs docstrings; run Python without -OO and PYTHONOPTIMIZE=2.\n"
    )
