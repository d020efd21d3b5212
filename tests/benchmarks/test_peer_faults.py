"""The faults that other libraries are compared by can be provoked on the libraries of this environment."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[2]
GROUPS = {"data", "audio files", "models", "runs", "outputs", "numbers", "security"}


def test_every_quick_fault_is_provoked_and_undamaged_files_are_read() -> None:
    command = [sys.executable, "benchmarks/peer_faults.py", "--quick", "--json"]
    finished = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    findings = json.loads(finished.stdout.splitlines()[-1])
    assert {group for group, *_ in findings["rows"]} == GROUPS
    assert {"accelerate", "datasets", "diffusers", "safetensors", "soundfile", "transformers"} <= set(
        findings["versions"]
    )
    controls = {(fault, peer): happened for _, fault, peer, happened in findings["rows"] if "No fault" in fault}
    assert controls["No fault: plain names", "datasets"] == "silent: 3 of 3 used in `train` (train 3)"
    assert controls["No fault: WAV", "soundfile"] == "silent: 96000 of 96000 samples"
    assert controls["No fault: a checkpoint", "accelerate"] == "silent: resumes, wrong values: 0"
    saved = {happened for (fault, _), happened in controls.items() if fault == "No fault: a saved model"}
    assert saved == {"silent: loads as saved"}
