"""The verbs with a model whose decoder draws one sample after another."""

import io
import re
import sys
from pathlib import Path

import pytest
import torch

from hf_audio_vae import WaveVAE, WaveVAEConfig
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from tests.cli.files import RATE, noise

CONFIG = {
    "sampling_rate": RATE,
    "downsampling_ratios": (4, 5),
    "window_length": 16,
    "hidden_size": 4,
    "latent_channels": 2,
    "residual_channels": 4,
    "skip_channels": 4,
    "num_stacks": 1,
    "layers_per_stack": 2,
    "num_components": 2,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("wave_vae")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WaveVAE(WaveVAEConfig(**CONFIG)).save_pretrained(folder)
    return str(folder)


@torch.no_grad()
def decoded(model: str, sound: Path) -> torch.Tensor:
    return WaveVAE.from_pretrained(model)(read_audio(sound)[0][None]).sample[0]


def test_reconstruct_and_decode_say_how_long_they_will_take(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound, out = str(sounds / "1.wav"), ["--output_dir", str(tmp_path / "out")]
    assert main(["encode", sound, "--model", model, *out]) == 0
    assert "decoding takes" not in capsys.readouterr().err
    duration = r"^1: decoding takes about \d+\.\d s, \d+ samples a second$"
    for arguments in (["reconstruct", sound, "--model", model], ["decode", str(tmp_path / "out/1.safetensors")]):
        assert main([*arguments, *out]) == 0
        assert len(re.findall(duration, capsys.readouterr().err, re.MULTILINE)) == 1
    for name in ("1.reconstruction.wav", "1.wav"):
        written, _ = read_audio(tmp_path / "out" / name)
        torch.testing.assert_close(written, decoded(model, sounds / "1.wav"), rtol=0, atol=1e-4)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_progress_bar_counts_samples_on_a_terminal(
    model: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["reconstruct", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path)]) == 0
    assert "/4.00k [" in terminal.getvalue()


def test_no_progress_bar_is_written_to_a_file(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path)]) == 0
    assert "/4.00k [" not in capsys.readouterr().err


def test_encode_and_inspect_run_no_decoder(
    model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(WaveVAE, "_generate")
    assert main(["encode", str(sounds / "1.wav"), "--model", model, "--output_dir", str(tmp_path)]) == 0
    assert main(["inspect", model, "--dataset_name", str(sounds)]) == 0
    assert "processed as a whole" not in capsys.readouterr().err


def test_card_has_the_figures_of_evaluate(model: str, sounds: Path, tmp_path: Path) -> None:
    measured = ["--dataset_name", str(sounds), "--output_dir", str(tmp_path / "results")]
    assert main(["evaluate", "--model", model, *measured]) == 0
    results = ["--results", str(tmp_path / "results/results.json"), "--output_dir", str(tmp_path)]
    assert main(["card", model, *results]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "library_name: hf_audio_vae" in text
    assert "from hf_audio_vae import WaveVAE" in text
    assert re.search(r"negative log-likelihood \(nats a sample, ↓\) \| +-?\d+\.\d+ \|", text)


def test_stream_plays_what_decode_writes(model: str, tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    write_audio(sound, noise(400), RATE)
    assert (
        main(["stream", str(sound), "--model", model, "--output_dir", str(tmp_path), "--block_seconds", "0.01"]) == 0
    )
    played, _ = read_audio(tmp_path / "a.stream.wav")
    torch.testing.assert_close(played, decoded(model, sound), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_export_writes_the_encoder_and_says_why_not_the_decoder(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", model, "--format", "torch", "--output_dir", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["encoder.pt2"]
    assert "no decoder: it draws one sample after another, which a graph cannot\n" in capsys.readouterr().err
