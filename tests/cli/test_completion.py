"""Completion in a real bash."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hf_audio_vae.cli.main import COMMANDS, TRAINING, main

ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_hf_audio_vae
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "script"
    with pytest.MonkeyPatch.context() as patch, path.open("w") as file:
        patch.setattr("sys.stdout", file)
        assert main(["completion", "bash"]) == 0
    return path


def completed(script: Path, *words: str) -> list[str]:
    command = ["bash", "-c", ASK, "bash", str(script), "hf-audio-vae", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_commands_options_and_recipes_are_completed(script: Path) -> None:
    assert {*COMMANDS, *TRAINING} <= set(completed(script, ""))
    assert completed(script, "recon") == ["reconstruct"]
    assert "--output_dir" in completed(script, "reconstruct", "--out")
    assert "stft-vae-24khz" in completed(script, "train", "--recipe", "stft")
    assert completed(script, "evaluate", "--format", "c") == ["csv"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_files_are_completed(script: Path, tmp_path: Path) -> None:
    (tmp_path / "song.wav").touch()
    assert completed(script, "reconstruct", f"{tmp_path}/so") == [f"{tmp_path}/song.wav"]
