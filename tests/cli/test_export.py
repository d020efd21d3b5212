"""The verb `export`, read back by the libraries that its files are for."""

import json
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from hf_audio_vae import WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.cli.main import main


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WaveformVAE(4, (3,), (1,), 4, decoder_input_channels=2, audio_channels=1).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_onnx_files_run_in_onnxruntime(model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(model_folder), "--output_dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for name in ("encoder", "decoder"):
        assert f"{tmp_path / name}.onnx: 0.0 MB, difference from the model: " in printed
    facts = {entry.key: entry.value for entry in onnx.load(tmp_path / "decoder.onnx").metadata_props}
    assert (json.loads(facts["model_class"]), json.loads(facts["hop_length"])) == ("WaveformVAE", 3)
    assert json.loads(facts["outputs"]) == {"waveform": {"shape": ["batch", 1, "3 * frames"], "dtype": "float32"}}
    sessions = [onnxruntime.InferenceSession(tmp_path / f"{name}.onnx") for name in ("encoder", "decoder")]
    x = 0.3 * torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(0))
    latents = sessions[0].run(["latents"], {"waveform": x.numpy()})[0]
    sample = sessions[1].run(["waveform"], {"latents": latents})[0]
    with torch.no_grad():
        expected = WaveformVAE.from_pretrained(model_folder)(x).sample
    torch.testing.assert_close(torch.from_numpy(sample)[..., :1000], expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_programs_are_loaded_by_torch_alone(model_folder: Path, tmp_path: Path) -> None:
    assert main(["export", str(model_folder), "--format", "torch", "--output_dir", str(tmp_path)]) == 0
    files = {"metadata.json": ""}
    encoder = torch.export.load(tmp_path / "encoder.pt2", extra_files=files).module()
    assert json.loads(files["metadata.json"])["latent_channels"] == 2
    x = 0.3 * torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = WaveformVAE.from_pretrained(model_folder).encode(x).latent_dist.mode()
    torch.testing.assert_close(encoder(x)[0], expected, rtol=0, atol=1e-5)


def test_what_cannot_be_exported_is_told_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = WaveformVQVAEConfig(
        encoder_hidden_size=2, decoder_hidden_size=4, downsampling_ratios=(2,), hidden_size=4, num_lstm_layers=2
    )
    WaveformVQVAE(config).save_pretrained(tmp_path / "lstm")
    for name, message in (
        (tmp_path / "lstm", "export a model without an LSTM"),
        ("/nowhere", "no model can be loaded from"),
    ):
        assert main(["export", str(name), "--output_dir", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_of_another_model_are_replaced_only_if_asked(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "decoder.pt2"
    file.write_text("of another model")
    arguments = ["export", str(model_folder), "--format", "torch", "--output_dir", str(tmp_path)]
    assert main(arguments) == 2
    assert f"{file} exists; name another --output_dir, or give --overwrite." in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(file.name, "of another model")]


def test_a_file_in_the_place_of_the_folder_is_one_line(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["export", str(model_folder), "--format", "torch", "--output_dir", str(tmp_path / "file")]) == 2
    assert f"{tmp_path}/file is a file; name a folder" in capsys.readouterr().err


def test_a_missing_library_is_told_before_anything_is_written(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(model_folder), "--output_dir", str(tmp_path / "out")]) == 2
    assert "export: needs onnxruntime; pip install 'hf-audio-vae[export]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_a_dtype_that_the_graphs_do_not_have_is_refused(
    dtype: str, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(model_folder), "--torch_dtype", dtype, "--output_dir", str(tmp_path / "x")]) == 2
    assert f"--torch_dtype is {dtype}, but graphs are in float32" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
