"""The files of a Space belong together and start the studio for all networks."""

import runpy
from pathlib import Path

import pytest
from huggingface_hub import metadata_load

from hf_audio_vae.cli import main as command

ROOT = Path(__file__).parents[2]


def test_the_space_names_the_tested_version_of_gradio() -> None:
    metadata = metadata_load(ROOT / "spaces/README.md")
    assert metadata is not None
    assert metadata["sdk"] == "gradio"
    assert f"gradio=={metadata['sdk_version']}" in (ROOT / "constraints.txt").read_text().splitlines()
    assert (ROOT / "spaces" / metadata["app_file"]).exists()


def test_the_space_starts_the_studio_with_the_arguments_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(command, "main", lambda arguments: calls.append(arguments) or 0)
    monkeypatch.setenv("STUDIO_ARGUMENTS", "stft-vae-24khz 'a model' --max_seconds 20")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "spaces/app.py"), run_name="__main__")
    assert ended.value.code == 0
    (arguments,) = calls
    assert arguments[:5] == ["studio", "stft-vae-24khz", "a model", "--max_seconds", "20"]
    assert arguments[5:] == ["--server_name", "0.0.0.0", "--server_port", "7860"]
