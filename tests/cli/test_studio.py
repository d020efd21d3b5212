"""The command that starts the studio: its address, its end, and its errors."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.studio import check_address, shown_names


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_studio_serves_a_page_until_it_is_told_to_end(end: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hf_audio_vae.cli.main", "studio"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", line)
        with urlopen(address) as response:
            assert b"hf-audio-vae studio" in response.read()
        (folder,) = tmp_path.glob("hf-audio-vae-studio-*")
        assert folder.stat().st_mode & 0o077 == 0
        process.send_signal(end)
        assert process.wait(60) == 0
    assert not folder.exists()


@pytest.mark.slow
def test_an_end_before_the_page_is_served_leaves_no_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hf_audio_vae.cli.main", "studio"]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        while not list(tmp_path.glob("hf-audio-vae-studio-*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert not list(tmp_path.glob("hf-audio-vae-studio-*"))


def test_a_port_in_use_is_named_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["studio", "--server_port", str(port)]) == 2
    assert f"--server_port {port} cannot be used" in capsys.readouterr().err
    check_address("127.0.0.1", port)
    check_address("localhost", None)


def test_names_on_the_page_are_short_and_distinct() -> None:
    assert shown_names(["outputs/a", "somebody/b"]) == {"a": "outputs/a", "b": "somebody/b"}
    assert set(shown_names(["x/model", "y/model", "z"])) == {"x/model", "y/model", "z"}
    assert set(shown_names([Path("v/bright.safetensors")])) == {"bright"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_seconds", "0"], "--max_seconds is 0.0; give a number of seconds above 0"),
        (["--max_megabytes", "nan"], "--max_megabytes is nan; give a size above 0"),
        (["--server_port", "70000"], "--server_port is 70000; give 1 to 65535"),
        (["--server_name", "no.such.host.invalid"], "--server_name 'no.such.host.invalid' is no address; give 127"),
        (["--server_name", "x" * 70], "is no address; give 127.0.0.1, or 0.0.0.0"),
        (["--server_name", "192.0.2.1"], "--server_name '192.0.2.1' is no address of this machine; give 127.0.0.1"),
        (["stft-vae-24khz", "stft-vae-24khz"], "stft-vae-24khz is named twice"),
        (["no-such-model"], "no model can be loaded from 'no-such-model'"),
    ],
)
def test_errors_of_the_user_are_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert main(["studio", *arguments]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae")]
    assert message in line
    assert not list(tmp_path.glob("hf-audio-vae-studio-*"))
