from pathlib import Path

import pytest
import torch

from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from tests.pipelines.latent_parts import RATE, latent_diffusion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline")
    latent_diffusion(class_names=("drum", "voice")).save_pretrained(path)
    return path


def generate(folder: Path, out: Path, *options: str) -> int:
    return main(["generate", str(folder), "--num_inference_steps", "2", "--output_dir", str(out), *options])


def test_each_class_is_a_sound_of_its_own_and_all_are_in_the_picture(folder: Path, tmp_path: Path) -> None:
    write_audio(tmp_path / "real.wav", torch.zeros(1, RATE), RATE)
    options = ("--class_label", "drum", "voice", "--num_waveforms", "2", "--seconds", "0.5")
    assert generate(folder, tmp_path / "out", *options, "--beside", str(tmp_path / "real.wav")) == 0
    names = ["00-drum.wav", "01-drum.wav", "02-voice.wav", "03-voice.wav"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.wav")) == names
    sounds = [read_audio(tmp_path / "out" / name)[0] for name in names]
    assert all(sound.shape == (1, RATE // 2) for sound in sounds)
    assert all(not torch.equal(sounds[0], other) for other in sounds[1:])
    assert (tmp_path / "out/generated.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_is_a_sound_and_a_sound_can_be_started_from(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_audio(tmp_path / "noise.wav", 0.3 * torch.randn(1, RATE), RATE)
    options = {
        "first": ("--seconds", "1", "--seed", "3"),
        "again": ("--seconds", "1", "--seed", "3"),
        "varied": ("--init_audio", str(tmp_path / "noise.wav"), "--strength", "0.5", "--seed", "3"),
        "mended": ("--init_audio", str(tmp_path / "noise.wav"), "--mask", "0.2", "0.4", "--seed", "3"),
    }
    sounds = {}
    for name, arguments in options.items():
        assert generate(folder, tmp_path / name, *arguments) == 0
        sounds[name] = read_audio(tmp_path / name / "00-generated.wav")[0]
    assert torch.equal(sounds["first"], sounds["again"])
    assert not torch.equal(sounds["varied"], sounds["first"])
    assert sounds["varied"].shape == sounds["mended"].shape == (1, RATE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--prompt", "a drum"), "trained without texts"),
        (("--class_label", "piano"), "the classes are ['drum', 'voice']"),
        (("--seconds", "9"), "the model generates at least one sample and at most 2 s"),
        (("--mask", "0.1", "0.2"), "without `init_audio`"),
        (("--seconds", "0"), "--seconds is 0.0; give a length above 0"),
        (("--seconds", "inf"), "--seconds is inf"),
        (("--seconds", "nan"), "--seconds is nan"),
        (("--num_waveforms", "0"), "--num_waveforms is 0"),
        (
            ("--top_k", "0", "--autoencoder", "a"),
            "is not a language model of codes and does not accept --autoencoder, --top_k",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    folder: Path, tmp_path: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(folder, tmp_path / "out", *options) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae ")]
    assert message in line
