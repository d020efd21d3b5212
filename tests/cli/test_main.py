"""The command line, on a small random model and real sound."""

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from safetensors import safe_open

import hf_audio_vae
from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import read_audio, resample, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.files.location import DEFAULT_MODEL

REPO = Path(__file__).parents[2]
MUSIC = str(REPO / "data/held_out/music_musicbox.ogg")  # 44.1 kHz, stereo
SPEECH = str(REPO / "data/held_out/speech_en_0890.flac")  # 16 kHz, mono


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 16000).save_pretrained(folder)
    return str(folder)


def test_a_conversion_of_many_files_is_told_once_with_their_number(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name, rate in (("a", 44100), ("b", 44100), ("c", 44100), ("d", 22050)):
        write_audio(tmp_path / f"in/{name}.wav", 0.1 * torch.randn(1, rate // 10), rate)
    assert main(["encode", str(tmp_path / "in"), "--model", model_folder, "--output_dir", str(tmp_path / "out")]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "Hz" in line]
    assert told == [
        "a.wav: 44100 Hz -> 16000 Hz",
        "d.wav: 22050 Hz -> 16000 Hz",
        "2 other files: 44100 Hz -> 16000 Hz",
    ]


def test_a_refused_command_leaves_no_folder_and_an_alike_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "stft-vae-24kz", "--output_dir", str(tmp_path / "new/out")]
    assert main(["reconstruct", MUSIC, *options]) == 2
    assert "there is no folder stft-vae-24kz; did you mean stft-vae-24khz" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("required: --dataset_name; see hf-audio-vae evaluate --help")


def test_a_folder_without_a_model_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 2
    assert "holds no model: it has no config.json; name a folder that a training" in capsys.readouterr().err


def test_reconstruct_writes_sound_picture_and_table(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconstruct", MUSIC, SPEECH, "--model", model_folder, "--output_dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "44100 Hz -> 16000 Hz" in err
    assert "2 channels -> 1 (mean)" in err
    assert "speech_en_0890" not in err, "nothing was changed, so nothing is said"
    for stem in ("music_musicbox", "speech_en_0890"):
        original, rate = read_audio(tmp_path / f"{stem}.original.wav")
        reconstruction, _ = read_audio(tmp_path / f"{stem}.reconstruction.wav")
        assert original.shape == reconstruction.shape
        assert rate == 16000
        assert (tmp_path / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
        with torch.no_grad():
            expected = WaveformVAE.from_pretrained(model_folder)(original[None]).sample[0]
        torch.testing.assert_close(reconstruction, expected, rtol=0, atol=1e-5)
    music, _ = read_audio(tmp_path / "music_musicbox.original.wav")
    expected = resample(read_audio(MUSIC)[0].mean(dim=0, keepdim=True), 44100, 16000)
    torch.testing.assert_close(music, expected, rtol=0, atol=1e-6)
    assert all(word in out for word in ("SI-SDR", "multi-resolution STFT", "mel distance", "times real time"))


def test_without_a_model_the_one_of_this_package_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", SPEECH, "--output_dir", str(tmp_path)]) == 0
    latents = tmp_path / "speech_en_0890.safetensors"
    with safe_open(latents, "pt") as file:
        assert file.metadata()["model"] == DEFAULT_MODEL, "a name that other machines know, too"
    assert main(["decode", str(latents), "--output_dir", str(tmp_path)]) == 0
    assert main(["reconstruct", SPEECH, "--output_dir", str(tmp_path)]) == 0
    capsys.readouterr()
    decoded, rate = read_audio(tmp_path / "speech_en_0890.wav")
    expected, _ = read_audio(tmp_path / "speech_en_0890.reconstruction.wav")
    assert rate == 24000
    torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-3)  # latents in float16


def test_decoding_what_was_encoded_is_the_reconstruction(model_folder: str, tmp_path: Path) -> None:
    exact = ["--latents_dtype", "float32", "--output_dir", str(tmp_path)]
    assert main(["encode", SPEECH, "--model", model_folder, *exact]) == 0
    latents = tmp_path / "speech_en_0890.safetensors"
    with safe_open(latents, "pt") as file:
        assert file.get_tensor("mean").shape == file.get_tensor("std").shape == (2, -(-84800 // 15))
        assert file.metadata()["sampling_rate"] == "16000"
    assert main(["decode", str(latents), "--output_dir", str(tmp_path)]) == 0
    decoded, rate = read_audio(tmp_path / "speech_en_0890.wav")
    with torch.no_grad():
        expected = WaveformVAE.from_pretrained(model_folder)(read_audio(SPEECH)[0][None]).sample[0]
    assert rate == 16000
    torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-5)


def test_a_card_has_the_figures_that_evaluate_printed(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(REPO / "data/held_out")
    arguments = ["--dataset_name", data, "--max_seconds", "0.3", "--output_dir", str(tmp_path / "results")]
    assert main(["evaluate", "--model", model_folder, *arguments]) == 0
    printed = capsys.readouterr().out
    value, _ = [line.split("|")[2].strip() for line in printed.splitlines() if "| mel distance (↓)" in line]
    assert float(value) > 0
    results = ["--results", str(tmp_path / "results/results.json"), "--output_dir", str(tmp_path)]
    assert main(["card", model_folder, *results]) == 0
    card = (tmp_path / "README.md").read_text()
    assert f" {value} |" in card
    assert "`held_out`: 12 items" in card
    assert main(["card", model_folder, *results]) == 0, "a card replaces a card"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["reconstruct", "nowhere.wav", "--model", "MODEL"], "nowhere.wav"),
        (["reconstruct", __file__, "--model", "MODEL"], "cannot be decoded"),
        (["reconstruct", SPEECH, "--model", "/nowhere"], "no model can be loaded from '/nowhere'"),
        (["reconstruct", SPEECH, SPEECH.replace("held_out", "held_out/."), "--model", "MODEL"], "is named twice"),
        (["decode", SPEECH], "not a readable safetensors file"),
        (["decode", "MODEL/diffusion_pytorch_model.safetensors"], "has format 'pt'"),
        (["evaluate", "--model", "MODEL", "--dataset_name", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [argument.replace("MODEL", model_folder) for argument in arguments]
    if filled[0] != "evaluate":
        filled += ["--output_dir", str(tmp_path / "out")]
    assert main(filled) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_latents_of_another_model_are_refused(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["encode", SPEECH, "--model", model_folder, "--output_dir", str(tmp_path)])
    other = tmp_path / "other"
    WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 16000).save_pretrained(other)
    latents = str(tmp_path / "speech_en_0890.safetensors")
    assert main(["decode", latents, "--model", str(other), "--output_dir", str(tmp_path)]) == 2
    assert "encoded with other weights" in capsys.readouterr().err


def test_channels_of_unknown_meaning_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "six.wav", torch.zeros(100, 6).numpy(), 16000)
    WaveformVAE(4, (3,), (1,), 4, 2, audio_channels=2, sampling_rate=16000).save_pretrained(tmp_path / "stereo")
    assert main(["encode", str(tmp_path / "six.wav"), "--model", str(tmp_path / "stereo")]) == 2
    assert "6 channels, but 2 are required" in capsys.readouterr().err


def test_a_missing_library_is_told_with_the_extra_that_brings_it(
    model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["reconstruct", SPEECH, "--model", model_folder, "--output_dir", str(tmp_path)]) == 2
    assert "reconstruct: needs matplotlib; pip install 'hf-audio-vae[eval]'" in capsys.readouterr().err


def test_a_module_that_no_extra_brings_is_a_bug(model_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hf_audio_vae.cli.export", None)
    with pytest.raises(ModuleNotFoundError, match="hf_audio_vae.cli.export"):
        main(["export", model_folder])


@pytest.mark.parametrize(
    ("verb", "options", "name"),
    [
        ("reconstruct", ["x.wav", "--model", "a", "--model=b"], "--model"),
        ("generate", ["m", "--class_label", "a", "--seed", "1", "--class_label", "b"], "--class_label"),
        ("export", ["m", "--overwrite", "--overwrite"], "--overwrite"),
    ],
)
def test_an_option_that_is_given_twice_is_named(
    verb: str, options: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, *options]) == 2
    assert capsys.readouterr().err == f"hf-audio-vae {verb}: {name} is given twice; give it once.\n"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["reconstruct", SPEECH, "--output_dir", ""], "--output_dir"),
        (["generate", "MODEL", "--output_dir="], "--output_dir"),
        (["encode", SPEECH, "--model", ""], "--model"),
        (["evaluate", "MODEL", "--dataset_name", ""], "--dataset_name"),
        (["inspect", "MODEL", "--data_files", "a.wav", ""], "--data_files"),
        (["export", ""], "an argument"),
    ],
)
def test_an_empty_path_is_not_the_working_directory(
    arguments: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    expected = f"hf-audio-vae {arguments[0]}: {name} is empty; give a value, or leave it out.\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("below", ["", "folder"], ids=["the folder", "its parent"])
@pytest.mark.parametrize(
    "arguments", [["export", "MODEL", "--format", "torch"], ["reconstruct", SPEECH, "--model", "MODEL"]]
)
def test_a_file_in_the_place_of_the_output_folder_is_named(
    arguments: list[str], below: str, model_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    output = ["--output_dir", str(tmp_path / "file" / below)]
    assert main([model_folder if argument == "MODEL" else argument for argument in arguments] + output) == 2
    assert capsys.readouterr().err.endswith(f"cannot be written: {tmp_path / 'file'} is a file; name a folder\n")
    assert (tmp_path / "file").read_text() == "kept"


HEAVY = ("torch", "numpy", "diffusers", "transformers", "datasets", "matplotlib")


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--help"], 0), (["--version"], 0), (["reconstrct"], 2), ([], 2), (["--hlep"], 2)]
)
def test_help_and_wrong_usage_import_no_heavy_library(arguments: list[str], code: int) -> None:
    program = f"""
import sys
sys.argv = ["/usr/bin/hf-audio-vae", *{arguments}]
from hf_audio_vae.cli.main import main
try:
    main()
finally:
    print("imported:", sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == code
    assert "imported: []" in ran.stderr.splitlines()


def test_the_package_runs_as_a_module_and_tells_its_version() -> None:
    ran = subprocess.run([sys.executable, "-m", "hf_audio_vae", "--version"], capture_output=True, text=True)
    assert ran.stdout == f"hf-audio-vae {hf_audio_vae.__version__}\n"


def test_the_command_has_the_public_names_when_they_are_used() -> None:
    program = """
import sys
sys.argv = ["hf-audio-vae"]
import hf_audio_vae
assert "torch" not in sys.modules
assert hf_audio_vae.WaveformVAE.__name__ == "WaveformVAE"
from diffusers.pipelines.pipeline_loading_utils import LOADABLE_CLASSES
assert "hf_audio_vae" in LOADABLE_CLASSES
assert not hasattr(hf_audio_vae, "no_such_name")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
