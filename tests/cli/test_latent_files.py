"""`decode` of files whose content is not that of the model that they name."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.latents import LatentsInfo, load_latents, save_codes, save_latents
from hf_audio_vae.models import WaveformVQVAE, WaveformVQVAEConfig, load_autoencoder
from hf_audio_vae.models.fingerprint import model_fingerprint
from tests.cli.files import noise

RATE, HOP, FRAMES = 8000, 40, 5
MEAN = torch.zeros(2, FRAMES)
CODES = torch.ones(3, FRAMES, dtype=torch.int64)


@pytest.fixture(scope="module")
def infos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LatentsInfo]:
    folder = tmp_path_factory.mktemp("models")
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": (5, 8), "hidden_size": 8}
    sizes |= {"sampling_rate": RATE, "num_codebooks": 3, "codebook_size": 11, "codebook_dim": 4}
    models = {
        "latents": WaveformVAE(4, (5, 8), (1, 2), 4, 2, 1, RATE),
        "codes": WaveformVQVAE(WaveformVQVAEConfig(**sizes)),
    }
    infos = {}
    for kind, model in models.items():
        model.save_pretrained(folder / kind)
        weights = model_fingerprint(model)
        infos[kind] = LatentsInfo(str(folder / kind), weights, RATE, FRAMES * HOP, audio_channels=1, hop_length=HOP)
    return infos


def decode_error(model: str, path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    out = ["--output_dir", str(path.parent / "out"), "--overwrite"]
    if main(["decode", str(path), "--model", model, *out, *options]) == 0:
        return ""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae ")]
    return line


@pytest.mark.parametrize("kind", ["latents", "codes"])
def test_an_edited_configuration_is_another_model(
    kind: str, infos: dict[str, LatentsInfo], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights have no trace of `causal`."""
    model = shutil.copytree(infos[kind].model, tmp_path / "model")
    config = model / "config.json"
    path = tmp_path / "a.safetensors"
    save(kind, path, infos[kind])
    assert decode_error(str(model), path, capsys) == ""
    config.write_text(json.dumps(json.loads(config.read_text()) | {"causal": True}))
    assert "encoded with other configuration values than" in decode_error(str(model), path, capsys)
    save(kind, path, replace(infos[kind], weights=infos[kind].weights.partition("-")[0]))
    assert decode_error(str(model), path, capsys) == "", "a file of an earlier version has only the weights"


def test_another_dtype_of_the_same_weights_is_named(
    infos: dict[str, LatentsInfo], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info, path = infos["latents"], tmp_path / "a.safetensors"
    for dtype in ("bfloat16", "float64"):
        encoder = load_autoencoder(info.model, torch_dtype=dtype)
        save("latents", path, replace(info, weights=model_fingerprint(encoder)))
        assert f"add --torch_dtype {dtype}" in decode_error(info.model, path, capsys)
        assert decode_error(info.model, path, capsys, "--torch_dtype", dtype) == ""
    save("latents", path, info)
    error = decode_error(info.model, path, capsys, "--torch_dtype", "bfloat16")
    assert "with --model, or leave out --torch_dtype" in error


def save(kind: str, path: Path, info: LatentsInfo, tensors: Mapping[str, torch.Tensor] = MappingProxyType({})) -> None:
    if kind == "latents":
        mean = tensors.get("latents", MEAN)
        save_latents(path, mean, torch.ones_like(mean), info)
    else:
        values = tensors.get("codes", CODES)
        save_codes(path, values, info, codebook_sizes=(16,) * len(values))


@pytest.mark.parametrize(
    ("changes", "tensors", "message"),
    [
        ({}, {}, None),
        ({"sampling_rate": 2 * RATE}, {}, "encoded with `sampling_rate` 16000, the model has 8000"),
        ({"hop_length": 20, "num_samples": 100}, {}, "encoded with `hop_length` 20, the model has 40"),
        ({"audio_channels": 2}, {}, "encoded with `audio_channels` 2, the model has 1"),
        ({"weights": "0" * 64}, {}, "encoded with other weights"),
        ({"num_samples": FRAMES * HOP + 1}, {}, "5 frames, but 201 samples are 6"),
        (
            {},
            {"latents": torch.zeros(3, FRAMES), "codes": CODES[:2]},
            "3 channels, the model 2|2 codebooks, the model",
        ),
        ({}, {"codes": 11 * CODES, "latents": torch.full((2, FRAMES), torch.nan)}, "outside 0 to 10|NaN"),
        ({}, {"latents": MEAN.double(), "codes": CODES}, None),
    ],
)
@pytest.mark.parametrize("kind", ["latents", "codes"])
def test_a_file_that_does_not_fit_the_model_is_one_line(
    kind: str,
    changes: dict[str, int],
    tensors: dict[str, torch.Tensor],
    message: str | None,
    infos: dict[str, LatentsInfo],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, info = tmp_path / "a.safetensors", replace(infos[kind], **changes)
    save(kind, path, info, tensors)
    assert main(["decode", str(path), "--output_dir", str(tmp_path / "out")]) == (2 if message else 0)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae ")]
    if message:
        (line,) = lines
        assert str(path) in line
        assert any(part in line for part in message.split("|"))
    assert (tmp_path / "out/a.wav").exists() == (message is None)


def test_latents_are_stored_in_half_precision_unless_told_otherwise(
    infos: dict[str, LatentsInfo], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "a.wav", noise(RATE), RATE)
    sizes, means = {}, {}
    for dtype in ("float16", "float32"):
        out = tmp_path / dtype
        options = ["--model", infos["latents"].model, "--output_dir", str(out)]
        options += ["--latents_dtype", dtype] if dtype == "float32" else []
        assert main(["encode", str(tmp_path / "a.wav"), *options]) == 0
        sizes[dtype] = (out / "a.safetensors").stat().st_size
        means[dtype], _, _ = load_latents(out / "a.safetensors")
        assert f"{dtype}, {sizes[dtype] / 1000:.1f} kB" in capsys.readouterr().out
    assert sizes["float32"] - sizes["float16"] == 2 * 2 * means["float32"].numel()  # mean and std, 2 bytes each
    error = (means["float16"] - means["float32"]).abs()
    assert 0 < error.max() < 1e-3 * means["float32"].abs().max()


def test_latents_beyond_half_precision_are_refused(infos: dict[str, LatentsInfo], tmp_path: Path) -> None:
    mean, std = torch.full((2, FRAMES), 1e6), torch.ones(2, FRAMES)
    with pytest.raises(ValueError, match="reach 1e\\+06, beyond torch.float16; use `latents_dtype` float32"):
        save_latents(tmp_path / "a.safetensors", mean, std, infos["latents"], dtype=torch.float16)
    save_latents(tmp_path / "a.safetensors", mean, std, infos["latents"])
    assert torch.equal(load_latents(tmp_path / "a.safetensors")[0], mean)
