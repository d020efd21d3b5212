from pathlib import Path

import pytest
import torch

from hf_audio_vae import AudioLatentDiffusionPipeline
from hf_audio_vae.audio import read_audio, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.pipelines.token_generation import Prior
from tests.pipelines.latent_parts import RATE, latent_diffusion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline")
    latent_diffusion(class_names=("drum", "voice")).save_pretrained(path)
    return path


def generate(folder: Path, out: Path, *options: str) -> int:
    steps = () if "--num_inference_steps" in options else ("--num_inference_steps", "2")
    return main(["generate", str(folder), *steps, "--output_dir", str(out), *options])


def test_each_class_is_a_sound_of_its_own_and_all_are_in_the_picture(folder: Path, tmp_path: Path) -> None:
    write_audio(tmp_path / "real.wav", torch.zeros(1, RATE), RATE)
    options = ("--class_label", "drum", "voice", "--num_waveforms", "2", "--seconds", "0.5")
    assert generate(folder, tmp_path / "out", *options, "--beside", str(tmp_path / "real.wav")) == 0
    names = ["00-drum.wav", "01-drum.wav", "02-voice.wav", "03-voice.wav"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.wav")) == names
    expected = AudioLatentDiffusionPipeline.from_pretrained(folder)(
        None,
        ["drum", "drum", "voice", "voice"],
        audio_end_in_s=0.5,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(0),
    ).audios
    for name, audio in zip(names, expected, strict=True):
        sound, rate = read_audio(tmp_path / "out" / name)
        assert rate == RATE
        assert sound.shape == (1, RATE // 2)
        torch.testing.assert_close(sound, audio, rtol=0, atol=1e-5)
    assert torch.pdist(expected.flatten(1)).min() > 1e-2, "no two are alike"
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
        (("--seconds", "9"), "at most 2 s, the length of its training crops. Give --seconds in"),
        (("--mask", "0.1", "0.2"), "--mask is given without --init_audio"),
        (("--strength", "0.5"), "--strength is given without --init_audio and has no effect"),
        (("--guidance_scale", "3"), "--guidance_scale has no effect without --prompt or --class_label"),
        (("--seconds", "0"), "--seconds is 0.0; give a length above 0"),
        (("--seconds", "inf"), "--seconds is inf"),
        (("--seconds", "nan"), "--seconds is nan"),
        (("--num_waveforms", "0"), "--num_waveforms is 0"),
        (("--seconds", "1e9"), "1 sound(s) of 1000000000.0 s are requested; give at most"),
        (("--num_waveforms", "1000000000"), "1000000000 sound(s) of the default length are requested"),
        (("--num_inference_steps", "0"), "--num_inference_steps is 0"),
        (("--class_label", "drum", "--guidance_scale", "nan"), "--guidance_scale is nan"),
        (("--strength", "1.5"), "--strength is 1.5"),
        (("--seed", "-1"), "--seed is -1"),
        (("--seed", str(2**64)), "--seed is 18446744073709551616"),
        (("--init_audio", "no.wav"), "no.wav"),
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


def test_steps_without_bound_are_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(folder, tmp_path, "--num_inference_steps", "100000000") == 2
    assert "--num_inference_steps is 100000000; give at most 10000" in capsys.readouterr().err


def test_a_model_that_is_no_pipeline_is_one_line_with_a_remedy(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(folder / "vae", tmp_path) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae ")]
    assert f"no pipeline can be loaded from '{folder / 'vae'}'; name a folder or a Hub id with a `model_index" in line


def test_a_checkpoint_of_a_training_run_is_named_with_the_folder_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "run/checkpoint-4"
    (checkpoint / "ema").mkdir(parents=True)
    (checkpoint / "trainer_state_0.json").write_text("{}")
    (checkpoint / "ema/config.json").write_text("{}")
    for name in (checkpoint, checkpoint / "ema"):
        assert generate(name, tmp_path / "out") == 2
        with pytest.raises(ValueError, match=f"{name} is a checkpoint .* the folder of the run, {tmp_path / 'run'},"):
            Prior.from_pretrained(name)
        (line,) = capsys.readouterr().err.splitlines()
        expected = f"{name} is a checkpoint of a training run; name the folder of the run, {tmp_path / 'run'}, which"
        assert expected in line


def test_existing_sounds_are_replaced_only_if_it_is_asked_for(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate(folder, tmp_path, "--seconds", "0.5") == 0
    first = (tmp_path / "00-generated.wav").read_bytes()
    assert generate(folder, tmp_path, "--seconds", "0.5", "--seed", "1") == 2
    assert "00-generated.wav exists; name another --output_dir, or give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "00-generated.wav").read_bytes() == first
    assert generate(folder, tmp_path, "--seconds", "0.5", "--seed", "1", "--overwrite") == 0
    assert (tmp_path / "00-generated.wav").read_bytes() != first
    init = ("--init_audio", str(tmp_path / "00-generated.wav"), "--overwrite")
    assert generate(folder, tmp_path, *init) == 2
    assert "00-generated.wav is an input and would be replaced" in capsys.readouterr().err


def test_older_sounds_that_are_not_replaced_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "00-mine.txt").touch()
    (tmp_path / "00-tune.mid").touch()
    assert generate(folder, tmp_path, "--seconds", "0.5", "--num_waveforms", "2") == 0
    line = f"{tmp_path} also has 1 older file(s) that were not replaced: 00-tune.mid\n"
    assert line in capsys.readouterr().err
    assert generate(folder, tmp_path, "--seconds", "0.5", "--overwrite") == 0
    assert (
        "also has 2 older file(s) that were not replaced: 00-tune.mid, 01-generated.wav\n" in capsys.readouterr().err
    )
    (tmp_path / "00-tune.mid").unlink()
    assert generate(folder, tmp_path, "--seconds", "0.5", "--num_waveforms", "2", "--overwrite") == 0
    assert "older file" not in capsys.readouterr().err


def test_class_names_that_are_no_file_names_stay_in_the_folder(tmp_path: Path) -> None:
    names = ("../escape", "a/b", "x" * 300, "tab\tname", "ドラム")
    latent_diffusion(class_names=names).save_pretrained(tmp_path / "model")
    assert generate(tmp_path / "model", tmp_path / "out/here", "--seconds", "0.5", "--class_label", *names) == 0
    made = sorted(path.name for path in (tmp_path / "out/here").glob("*.wav"))
    assert [name[:13] for name in made] == [
        "00-..-escape.",
        "01-a-b.wav",
        "02-xxxxxxxxxx",
        "03-tab-name.w",
        "04-ドラム.wav",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["here"]


def test_the_sound_to_show_beside_is_read_before_the_generation(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(AudioLatentDiffusionPipeline, "__call__", lambda *arguments, **options: pytest.fail("it ran"))
    options = ("--class_label", "drum", "--beside", str(tmp_path / "missing.wav"))
    assert generate(folder, tmp_path / "out", *options) == 2
    assert "missing.wav cannot be read" in capsys.readouterr().err
