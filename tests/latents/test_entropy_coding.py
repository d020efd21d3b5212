"""Latents as bytes: the error of the quantizer, the rate of the entropy, and files that cannot be decoded."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.latents import LatentsInfo, code_latents, decode_latents, load_latents, save_coded_latents

FRAMES, CHANNELS = 2000, 4
SPEECH = "data/held_out/speech_en_0890.flac"


@pytest.fixture
def posterior() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([[0.1], [1.0], [3.0], [50.0]])
    return scales * torch.randn(CHANNELS, FRAMES, generator=generator) + 5, torch.full((CHANNELS, FRAMES), 0.02)


@pytest.mark.parametrize("relative_step", [0.5, 1.0, 4.0])
def test_each_value_is_within_half_a_step(posterior: tuple[Tensor, Tensor], relative_step: float) -> None:
    mean, std = posterior
    error = decode_latents(code_latents(mean, std, relative_step=relative_step)) - mean
    step = relative_step * 0.02
    assert error.abs().max() <= 0.501 * step
    assert error[1].std() == pytest.approx(step / math.sqrt(12), rel=0.05)


def test_the_bits_are_those_of_the_entropy(posterior: tuple[Tensor, Tensor]) -> None:
    mean, std = posterior
    coded = code_latents(mean, std)
    levels = mean.std(dim=1) / 0.02
    entropy = FRAMES * float((0.5 * math.log2(2 * math.pi * math.e) + levels.log2()).sum())
    assert 8 * coded.num_bytes == pytest.approx(entropy + 3 * CHANNELS * 32, rel=0.01)
    # Twice the step saves one bit for each number.
    saved = 8 * (coded.num_bytes - code_latents(mean, std, relative_step=2.0).num_bytes)
    assert saved == pytest.approx(CHANNELS * FRAMES, rel=0.01)


def test_constant_channels_and_single_frames_are_coded(posterior: tuple[Tensor, Tensor]) -> None:
    mean, std = posterior
    mean[2] = 7.0
    torch.testing.assert_close(decode_latents(code_latents(mean, std))[2], mean[2])
    torch.testing.assert_close(decode_latents(code_latents(mean[:, :1], std[:, :1])), mean[:, :1])


def test_steps_that_make_no_levels_or_too_many_are_refused(posterior: tuple[Tensor, Tensor]) -> None:
    mean, std = posterior
    for step in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="give a number above 0"):
            code_latents(mean, std, relative_step=step)
    with pytest.raises(ValueError, match="use a larger step"):
        code_latents(mean, 1e-12 * std)


@pytest.mark.parametrize("change", [{"largest": 0}, {"largest": 1 << 30}, {"frames": 3}, {"center": torch.zeros(3)}])
def test_a_file_that_contradicts_itself_is_refused(
    change: dict, posterior: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    info = LatentsInfo("model", "weights", 8000, 10 * FRAMES, audio_channels=1, hop_length=10)
    coded = code_latents(*posterior)
    save_coded_latents(tmp_path / "whole.safetensors", coded, info)
    mean, std, found = load_latents(tmp_path / "whole.safetensors")
    assert torch.equal(mean, decode_latents(coded)) and found == info and not std.any()
    save_coded_latents(tmp_path / "changed.safetensors", replace(coded, **change), info)
    with pytest.raises(ValueError, match="changed.safetensors cannot be used: .*; encode it again"):
        load_latents(tmp_path / "changed.safetensors")


def test_sound_goes_through_a_file_a_quarter_as_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {}
    for name, options in {"plain": [], "coded": ["--quantization_step", "1"]}.items():
        assert main(["encode", SPEECH, "--output_dir", str(tmp_path / name), *options]) == 0
        files[name] = tmp_path / name / "speech_en_0890.safetensors"
        assert main(["decode", str(files[name]), "--output_dir", str(tmp_path / name)]) == 0
    assert "32 channels x 249 frames coded, " in capsys.readouterr().out
    assert files["coded"].stat().st_size < files["plain"].stat().st_size / 3.5
    plain, coded = (read_audio(path.with_suffix(".wav"))[0] for path in files.values())
    assert (coded - plain).square().mean() < 0.01 * plain.square().mean()


@pytest.mark.parametrize(("option", "value"), [("--quantization_step", "1"), ("--latents_dtype", "float32")])
def test_codes_have_no_step_and_no_dtype(
    option: str, value: str, tmp_path: Path, codec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", SPEECH, "--model", codec, option, value, "--output_dir", str(tmp_path)]) == 2
    assert f"{option} has no effect on the codes of a WaveformVQVAE" in capsys.readouterr().err


def test_coded_latents_have_no_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = ["--latents_dtype", "float32", "--quantization_step", "1"]
    assert main(["encode", SPEECH, *both, "--output_dir", str(tmp_path)]) == 2
    assert "--latents_dtype has no effect with --quantization_step" in capsys.readouterr().err


@pytest.fixture
def codec(tmp_path: Path) -> str:
    from hf_audio_vae.models import WaveformVQVAE, WaveformVQVAEConfig

    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": (5, 8), "hidden_size": 8}
    WaveformVQVAE(WaveformVQVAEConfig(**sizes, sampling_rate=8000, num_codebooks=1)).save_pretrained(
        tmp_path / "codec"
    )
    return str(tmp_path / "codec")
