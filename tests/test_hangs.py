"""A test that hangs fails, and does not stop the suite."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
CHILD = """
import multiprocessing, time

def test_hangs():
    process = multiprocessing.get_context("{start}").Process(target=time.sleep, args=(1000,))
    process.start()
    process.join()
"""
GRANDCHILD = """
import subprocess, sys

def test_hangs():
    sleep = [sys.executable, "-c", "import time; time.sleep(1000)"]
    subprocess.run([sys.executable, "-c", f"import subprocess; subprocess.run({sleep})"])
"""
UNINTERRUPTIBLE = """
import itertools

def test_hangs():
    sum(itertools.repeat(0))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [CHILD.format(start="fork"), CHILD.format(start="spawn"), GRANDCHILD, UNINTERRUPTIBLE],
    ids=["fork", "spawn", "grandchild", "uninterruptible"],
)
def test_a_hang_fails_its_test_and_ends(source: str, tmp_path: Path) -> None:
    (tmp_path / "test_hanging.py").write_text(source)
    limits = ["-o", "timeout=2", "-o", "faulthandler_timeout=6"]
    command = [sys.executable, "-m", "pytest", "-c", str(REPO / "pyproject.toml"), *limits, "-p", "tests.conftest"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPO), str(REPO / "src")])}
    # A process that is left behind would keep the pipe open.
    ended = subprocess.run(
        [*command, str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert "Timeout" in ended.stdout + ended.stderr
