"""The figures that commands print, and the sampling rates of the files that they write, by value."""

import shutil
import time
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from hf_audio_vae import AudioLatentDiffusionPipeline, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.evaluation.plots import spectrogram_figure
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.tokens import CodesInfo, CodeTokens, save_tokens
from tests.pipelines.latent_parts import RATE, latent_diffusion

DATA = Path(__file__).parents[2] / "data/held_out"
MUSIC = DATA / "music_musicbox.ogg"  # 44.1 kHz, stereo
SPEECH = DATA / "speech_en_0890.flac"  # 16 kHz, mono, 84800 samples


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("model")
        WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 16000).save_pretrained(folder)
    return str(folder)


def cell(printed: str, row: str, column: int) -> float:
    """A number of a printed table."""
    (line,) = [line for line in printed.splitlines() if line.startswith("|") and row in line]
    return float(line.split("|")[column])


def test_reconstruct_writes_both_files_at_the_rate_of_the_model(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    assert main(["reconstruct", str(MUSIC), "--model", model_folder, "--output_dir", str(tmp_path)]) == 0
    elapsed = time.monotonic() - started
    original, rate = read_audio(tmp_path / "music_musicbox.original.wav")
    assert rate == 16000
    assert read_audio(tmp_path / "music_musicbox.reconstruction.wav")[1] == 16000
    assert cell(capsys.readouterr().out, "music_musicbox", 5) > original.shape[-1] / 16000 / elapsed


def test_decode_prints_the_length_of_the_sound(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["encode", str(SPEECH), "--model", model_folder, "--output_dir", str(tmp_path)])
    capsys.readouterr()
    assert main(["decode", str(tmp_path / "speech_en_0890.safetensors"), "--output_dir", str(tmp_path)]) == 0
    assert f"{tmp_path / 'speech_en_0890.wav'}: 5.300 s at 16000 Hz" in capsys.readouterr().out
    decoded, rate = read_audio(tmp_path / "speech_en_0890.wav")
    assert (decoded.shape[-1], rate) == (84800, 16000)


def test_stereo_is_decoded_to_its_own_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    WaveformVAE(4, (3, 5), (1, 2), 4, 2, 2, 44100).save_pretrained(tmp_path / "model")
    out = ["--output_dir", str(tmp_path)]
    assert main(["encode", str(MUSIC), "--model", str(tmp_path / "model"), *out]) == 0
    assert main(["decode", str(tmp_path / "music_musicbox.safetensors"), *out]) == 0
    decoded, rate = read_audio(tmp_path / "music_musicbox.wav")
    assert (decoded.shape, rate) == (read_audio(MUSIC)[0].shape, 44100)
    assert f"{decoded.shape[-1] / 44100:.3f} s at 44100 Hz" in capsys.readouterr().out


def test_evaluate_and_inspect_count_the_seconds_of_all_items(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("speech_en_0890.flac", "speech_ru_ru_0014.flac"):
        shutil.copy(DATA / name, tmp_path)
    data = ["--dataset_name", str(tmp_path), "--max_seconds", "0.3"]
    started = time.monotonic()
    assert main(["evaluate", "--model", model_folder, *data]) == 0
    elapsed = time.monotonic() - started
    printed = capsys.readouterr().out
    assert "2 items, 0.6 s" in printed
    assert cell(printed, "times real time", 2) > 0.6 / elapsed
    assert main(["inspect", model_folder, *data]) == 0
    assert f"2 items, 0.6 s, {2 * 320} frames" in capsys.readouterr().out


@pytest.fixture(scope="module")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    latent_diffusion(class_names=("drum", "voice")).save_pretrained(folder)
    return folder


def test_generate_writes_what_the_pipeline_returns_at_its_rate_and_by_its_class(
    pipeline_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--class_label", "drum", "voice", "--num_waveforms", "2", "--seconds", "0.5", "--seed", "5"]
    settings = ["--num_inference_steps", "2", "--output_dir", str(tmp_path)]
    assert main(["generate", str(pipeline_folder), *options, *settings]) == 0
    printed = capsys.readouterr().out
    pipeline = AudioLatentDiffusionPipeline.from_pretrained(pipeline_folder)
    expected = pipeline(
        class_labels=["drum", "voice"],
        num_waveforms_per_prompt=2,
        audio_end_in_s=0.5,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(5),
    ).audios
    written = {}
    for number, label in enumerate(["drum", "drum", "voice", "voice"]):
        path = tmp_path / f"{number:02d}-{label}.wav"
        written[path.name], rate = read_audio(path)
        assert rate == RATE
        torch.testing.assert_close(written[path.name], expected[number], rtol=0, atol=1e-5)
        assert f"{path}: 0.500 s at {RATE} Hz" in printed
    shown = {"generated: drum": written["00-drum.wav"], "generated: voice": written["02-voice.wav"]}
    spectrogram_figure(shown, RATE).savefig(tmp_path / "expected.png", dpi=120)
    assert (tmp_path / "generated.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_sounds_of_codes_have_the_rate_and_the_length_that_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "hidden_size": 8, "residual_dilations": (1,)}
    codes = {"num_codebooks": 2, "codebook_size": 4, "codebook_dim": 4}
    codec = WaveformVQVAE(WaveformVQVAEConfig(sampling_rate=1000, downsampling_ratios=(2, 5), **sizes, **codes))
    codec.save_pretrained(tmp_path / "codec")
    tokens = CodeTokens((4, 4), "delayed")
    size = {"n_positions": tokens.length(20), "n_embd": 8, "n_layer": 1, "n_head": 1}
    prior = GPT2LMHeadModel(GPT2Config(vocab_size=tokens.vocab_size, **size))
    prior.save_pretrained(tmp_path / "prior")
    info = CodesInfo(str(tmp_path / "codec"), model_fingerprint(codec), (), (100.0,), 20)
    save_tokens(tmp_path / "prior", tokens, info)
    out = ["--seconds", "0.105", "--num_waveforms", "2", "--output_dir", str(tmp_path / "out")]
    assert main(["generate", str(tmp_path / "prior"), *out]) == 0
    printed = capsys.readouterr().out
    for number in range(2):  # 0.105 s at 100 Hz are ten frames and a half
        path = tmp_path / f"out/{number:02d}-generated.wav"
        sound, rate = read_audio(path)
        assert (sound.shape, rate) == ((1, 105), 1000)
        assert f"{path}: 0.105 s at 1000 Hz" in printed
