from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.cli.main import main


def models() -> list[torch.nn.Module]:
    codec = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": (2, 5), "hidden_size": 16}
    return [
        WaveformVAE(8, (2, 5), (1, 2), 8, 4, audio_channels=1, sampling_rate=8000),
        WaveformVQVAE(WaveformVQVAEConfig(**codec, num_codebooks=3, codebook_size=64, sampling_rate=8000)),
        HierarchicalVQVAE(
            HierarchicalVQVAEConfig(width=8, depth=1, hidden_size=4, codebook_size=16, sampling_rate=8000)
        ),
    ]


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "sound.wav"
    soundfile.write(path, 0.3 * torch.randn(4000, generator=torch.Generator().manual_seed(0)).numpy(), 8000)
    return path


@pytest.mark.parametrize("model", models(), ids=lambda model: type(model).__name__)
def test_verbs_read_a_variant_in_half_precision(model, sound: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model.to(torch.float16).save_pretrained(folder, variant="fp16")
    options = ["--model", str(folder), "--variant", "fp16", "--torch_dtype", "float16"]
    out = ["--output_dir", str(tmp_path / "out")]
    assert main(["reconstruct", str(sound), *options, *out]) == 0
    assert main(["encode", str(sound), *options, *out]) == 0
    coded = str(tmp_path / "out" / "sound.safetensors")
    assert main(["decode", coded, *options, "--output_dir", str(tmp_path / "decoded")]) == 0
    (decoded,) = (tmp_path / "decoded").glob("*.wav")
    assert soundfile.info(decoded).samplerate == 8000
    if not isinstance(model, HierarchicalVQVAE):
        assert main(["stream", str(sound), *options, *out]) == 0


def test_a_variant_that_is_missing_and_weights_that_are_missing_are_one_line(sound, tmp_path, capfd) -> None:
    for model in models():
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        capfd.readouterr()
        assert main(["encode", str(sound), "--model", str(folder), "--variant", "fp16"]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert "fp16.safetensors" in error
        file = next(folder.glob("*.safetensors"))
        file.write_bytes(file.read_bytes()[:-1])
        assert main(["encode", str(sound), "--model", str(folder)]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert file.name in error


@pytest.fixture
def latents(tmp_path: Path, sound: Path) -> tuple[Path, Path]:
    """Folder of a model, and a file that it encoded."""
    model, out = tmp_path / "model", tmp_path / "encoded"
    models()[0].save_pretrained(model)
    assert main(["encode", str(sound), "--model", str(model), "--output_dir", str(out)]) == 0
    return model, out / "sound.safetensors"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variant", "fp16"], "has no weights of the --variant 'fp16'"),
        (["--subfolder", "vae"], "has no --subfolder 'vae'; give another, or leave it out"),
    ],
)
def test_a_missing_variant_or_subfolder_is_named_as_the_option(
    options, message, latents, sound, tmp_path, capfd
) -> None:
    model, coded = latents
    out = ["--output_dir", str(tmp_path / "out")]
    for verb, file in (("decode", coded), ("encode", sound), ("reconstruct", sound), ("stream", sound)):
        capfd.readouterr()
        assert main([verb, str(file), "--model", str(model), *options, *out]) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1
        assert message in error
        assert "`" not in error


def test_weights_with_a_variant_only_are_found_by_the_option_that_the_error_names(latents, tmp_path, capfd) -> None:
    model, coded = latents
    decode = ["decode", str(coded), "--model", str(model), "--output_dir", str(tmp_path / "out")]
    (weights,) = model.glob("*.safetensors")
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    capfd.readouterr()
    assert main(decode) == 2
    assert "has no weights without a --variant" in (error := capfd.readouterr().err)
    assert "give --variant 'fp16'" in error
    assert main([*decode, "--variant", "fp16"]) == 0


def test_a_pipeline_without_the_subfolder_of_its_model_is_told_apart(latents, sound, tmp_path, capfd) -> None:
    model, _ = latents
    pipeline = tmp_path / "pipeline"
    pipeline.mkdir()
    (pipeline / "model_index.json").write_text("{}")
    model.rename(pipeline / "vae")
    encode = ["encode", str(sound), "--model", str(pipeline), "--output_dir", str(tmp_path / "out")]
    capfd.readouterr()
    assert main(encode) == 2
    assert "is a pipeline; give the --subfolder of its model, as 'vae'" in capfd.readouterr().err
    assert main([*encode, "--subfolder", "vae"]) == 0


@torch.no_grad()
def test_decode_finds_the_subfolder_and_the_variant_that_the_file_names(sound: Path, tmp_path: Path) -> None:
    models()[0].to(torch.float16).save_pretrained(tmp_path / "pipeline/vae", variant="fp16")
    options = ["--model", str(tmp_path / "pipeline"), "--subfolder", "vae", "--variant", "fp16"]
    assert main(["encode", str(sound), *options, "--output_dir", str(tmp_path)]) == 0
    latents = tmp_path / f"{sound.stem}.safetensors"
    assert main(["decode", str(latents), "--output_dir", str(tmp_path / "found")]) == 0
    assert main(["decode", str(latents), *options, "--output_dir", str(tmp_path / "named")]) == 0
    found, named = (soundfile.read(tmp_path / folder / "sound.wav")[0] for folder in ("found", "named"))
    assert np.array_equal(found, named)
