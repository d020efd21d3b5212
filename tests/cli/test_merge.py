"""The verb `merge`, and other verbs with an adapter as their model."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hf_audio_vae import WaveformVAE
from hf_audio_vae.cli.main import main
from hf_audio_vae.models import BaseLocation, LoraAdapter, load_autoencoder
from tests.models.peers import test_fresh_process
from tests.models.peers.tiny import TINY
from tests.models.test_published_formats import original


def adapt(base: Path, folder: Path, rank: int = 1) -> LoraAdapter:
    """Save an adapter with random factors."""
    torch.manual_seed(0)
    adapter = LoraAdapter.new(load_autoencoder(base), BaseLocation(str(base)), rank=rank)
    for update in adapter.updates:
        nn.init.normal_(update.lora_B, std=0.05)
    adapter.save_pretrained(folder)
    return adapter


@pytest.fixture
def adapter(model: str, tmp_path: Path) -> Path:
    adapt(Path(model), tmp_path / "adapter")
    return tmp_path / "adapter"


def error(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


@torch.no_grad()
def test_the_original_class_decodes_as_the_adapted_model_in_a_fresh_process(tmp_path: Path) -> None:
    expected = {}
    for name in ("AutoencoderOobleck", "MimiModel"):  # hooks of weight norm, plain weights
        theirs = TINY[name].new() if name in TINY else original(name)
        theirs.save_pretrained(tmp_path / "base" / name)
        adapter = adapt(tmp_path / "base" / name, tmp_path / "adapter" / name)
        adapted = load_autoencoder(tmp_path / "base" / name)
        adapter.attach(adapted)
        folder = tmp_path / "merged" / name
        assert main(["merge", str(tmp_path / "adapter" / name), "--output_dir", str(folder)]) == 0
        if adapted.codebook_sizes:
            frames = torch.arange(12).expand(1, len(adapted.codebook_sizes), 12) % min(adapted.codebook_sizes)
        else:
            frames = torch.randn(1, adapted.latent_channels, 12)
        save_file({"frames": frames.contiguous()}, folder / "given.safetensors")
        expected[name] = adapted.decode(frames)[0]
    script = Path(test_fresh_process.__file__).with_name("fresh_process.py")
    finished = subprocess.run([sys.executable, str(script), str(tmp_path / "merged")], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    for name, audio in expected.items():
        decoded = load_file(tmp_path / "merged" / name / "decoded.safetensors")["decoded"]
        torch.testing.assert_close(decoded, audio, rtol=0, atol=1e-5 * float(audio.abs().max()), msg=name)


def test_other_verbs_take_an_adapter_as_their_model(
    adapter: Path, model: str, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(adapter), "--output_dir", str(tmp_path / "merged")]) == 0
    assert "merged: a WaveformVAE, 31 layers changed" in capsys.readouterr().out
    for name in (str(adapter), str(tmp_path / "merged"), model):
        options = ["--model", name, "--output_dir", str(tmp_path / "latents" / Path(name).name)]
        assert main(["encode", str(sounds / "1.wav"), *options]) == 0
    adapted, merged, before = (
        load_file(tmp_path / "latents" / name / "1.safetensors") for name in ("adapter", "merged", Path(model).name)
    )
    assert adapted.keys() == merged.keys() == before.keys()
    assert all(torch.equal(adapted[key], merged[key]) for key in adapted)
    assert not all(torch.equal(adapted[key], before[key]) for key in adapted)


def test_the_card_of_an_adapter_names_its_base(adapter: Path, model: str, tmp_path: Path) -> None:
    assert main(["card", str(adapter), "--output_dir", str(tmp_path)]) == 0
    card = (tmp_path / "README.md").read_text()
    assert f"A low-rank adapter of the WaveformVAE {Path(model).name}; both are loaded and merged" in card
    assert "model = load_autoencoder(" in card


def test_a_model_that_has_moved_is_given(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(model, tmp_path / "here/vae")
    adapt(tmp_path / "here/vae", tmp_path / "adapter")
    (tmp_path / "here").rename(tmp_path / "there")
    command = ["merge", str(tmp_path / "adapter"), "--output_dir", str(tmp_path / "merged")]
    assert main(command) == 2
    assert "here/vae, cannot be loaded; give its location to `hf-audio-vae merge`" in error(capsys)
    assert main([*command, "--subfolder", "vae"]) == 2
    assert "--subfolder and --revision belong to --model" in error(capsys)
    assert main([*command, "--model", str(tmp_path / "there"), "--subfolder", "vae"]) == 0
    assert isinstance(load_autoencoder(tmp_path / "merged"), WaveformVAE)


def test_what_cannot_be_merged_is_told_in_a_line(
    adapter: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    assert main(["merge", str(adapter), "--output_dir", str(tmp_path / "taken")]) == 2
    assert "taken exists and is not empty; name another destination" in error(capsys)
    assert main(["merge", model, "--output_dir", str(tmp_path / "merged")]) == 2
    assert "holds no adapter_config.json and no adapter_model.safetensors; name the folder of an adapter" in error(
        capsys
    )
    assert not (tmp_path / "merged").exists()


def test_a_model_that_changed_since_the_training_is_not_adapted(
    adapter: Path,
    model: str,
    sounds: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    base = tmp_path / "base"
    shutil.copytree(model, base)
    adapt(base, tmp_path / "other")
    torch.manual_seed(1)
    WaveformVAE.from_config(load_autoencoder(base).config).save_pretrained(base)
    assert main(["merge", str(tmp_path / "other"), "--output_dir", str(tmp_path / "merged")]) == 2
    assert "base does not have the weights that the adapter was trained on; restore" in error(capsys)
    assert not (tmp_path / "merged").exists()
    options = ["--model", str(tmp_path / "other"), "--output_dir", str(tmp_path / "out")]
    assert main(["encode", str(sounds / "1.wav"), *options]) == 2
    assert main(["merge", str(adapter), "--model", str(base), "--output_dir", str(tmp_path / "given")]) == 0
    assert "the adapter is merged into it nevertheless" in caplog.text
    caplog.clear()
    assert main(["merge", str(adapter), "--model", model, "--output_dir", str(tmp_path / "same")]) == 0
    assert not caplog.text
