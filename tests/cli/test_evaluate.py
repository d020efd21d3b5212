"""Models beside each other and beside Opus, from one command."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import read_audio, resample, write_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.evaluation.lossy import opus
from hf_audio_vae.evaluation.metrics import mel_spectrogram_distance
from hf_audio_vae.evaluation.registry import SIGNAL_METRICS
from tests.cli.files import RATE, noise

DATA = ["--dataset_name", "data/held_out", "--max_seconds", "1"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        WaveformVAE(4, (3, 5), (1, 2), 4, 2, 1, 16000).save_pretrained(folder / "mono")
        WaveformVAE(4, (3, 5), (1, 2), 4, 2, 2, 24000).save_pretrained(folder / "stereo")
    return str(folder / "mono"), str(folder / "stereo")


def evaluate(folders: tuple[str, ...], *options: str) -> int:
    models = [argument for name in folders for argument in ("--model", name)]
    return main(["evaluate", *models, *DATA, *options])


def test_models_and_anchors_are_measured_on_the_same_clips_at_the_highest_rate(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate((*folders, "opus@32"), "--output_dir", str(tmp_path / "out")) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["settings"]["sampling_rate"] == 24000
    assert results["settings"]["audio_channels"] == 2
    assert [len(item["metrics"]) for item in results["items"]] == 12 * [3]
    assert set(SIGNAL_METRICS) <= set(results["means"]["mono"])
    by_hand = []
    for path in sorted(Path("data/held_out").iterdir()):
        if path.suffix != ".csv" and "README" not in path.name:
            waveform, rate = read_audio(path)
            clip = resample(waveform, rate, 24000)[:, :24000]
            clip = clip.expand(2, -1) if len(clip) == 1 else clip
            coded = resample(opus(resample(clip, 24000, 24000), 24000, 32000).waveform, 24000, 24000)
            by_hand.append(mel_spectrogram_distance(coded[None], clip[None], 24000).item())
    found = results["means"]["opus@32"]["mel_distance"]
    assert found["mean"] == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-3)
    assert found["low"] < found["mean"] < found["high"]
    assert f"{found['mean']:.3f}" in printed
    assert "mel distance: opus@32 > " in printed
    assert set(results["distances"]["opus@32"]) == {"KAD log_mel", "KAD musicnn"}  # too few clips for FAD
    assert results["distances"]["opus@32"]["KAD log_mel"] < results["distances"]["mono"]["KAD log_mel"]
    assert results["properties"]["mono"]["latent_numbers_per_second"] == pytest.approx(2 * 16000 / 15)
    assert "paired difference" in (tmp_path / "out/results.md").read_text()
    assert (tmp_path / "out/results.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_command_that_was_killed_continues_to_the_same_results(folders: tuple[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hf_audio_vae.cli.main", "evaluate", *DATA, "--num_processes", "2"]
    command += ["--model", folders[0], "--model", "opus@16", "--output_dir"]
    assert subprocess.run([*command, str(tmp_path / "whole")]).returncode == 0
    process = subprocess.Popen([*command, str(tmp_path / "killed")], start_new_session=True)
    deadline = time.monotonic() + 400
    while len(list((tmp_path / "killed").glob("items/*.safetensors"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed/results.json").exists()
    assert subprocess.run([*command, str(tmp_path / "killed")]).returncode == 0
    whole, killed = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("whole", "killed"))
    assert killed == whole


def test_items_that_cannot_be_read_are_named_in_the_results(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/broken.wav").write_bytes(b"RIFF")
    (tmp_path / "data/whole.flac").write_bytes(Path("data/held_out/speech_en_0890.flac").read_bytes())
    arguments = ["--model", folders[0], "--dataset_name", str(tmp_path / "data"), "--max_seconds", "1"]
    assert main(["evaluate", *arguments, "--output_dir", str(tmp_path / "out")]) == 1
    assert "1 of 2 items cannot be used" in capsys.readouterr().err
    (name,) = json.loads((tmp_path / "out/results.json").read_text())["skipped"]
    assert "broken" in name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "MONO", "--model", "MONO"], "names a model twice"),
        (["--model", "MONO", "--model", "opus@2"], "Opus has 6000 to 256000"),
        (["--model", "MONO", "--model", "opus@16", "--subfolder", "vae"], "--subfolder would be that of all 2 models"),
        (["--model", "MONO", "--num_processes", "0"], "--num_processes is 0; give 1 or more"),
        (["--model", "MONO", "--num_processes", str((os.cpu_count() or 1) + 1)], f"give at most {os.cpu_count()}"),
        (["--model", "MONO", "--metrics", "loudness"], "there is no metric 'loudness'; choose from si_sdr_db"),
        (["--model", "MONO", "--embeddings", "vggish"], "there is no embedding 'vggish'; choose from log_mel"),
        (["--model", "MONO", "--sampling_rate", "-1"], "--sampling_rate is -1"),
    ],
)
def test_wrong_options_are_one_line(
    folders: tuple[str, str], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [folders[0] if option == "MONO" else option for option in options]
    assert main(["evaluate", *DATA, *filled]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae")]
    assert message in line


def test_results_of_other_settings_are_not_continued(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--embeddings", "--output_dir", str(tmp_path))
    assert evaluate(("opus@16",), *options) == 0
    capsys.readouterr()
    assert evaluate(("opus@16",), *options) == 0
    assert "12 items are measured already" in capsys.readouterr().err
    assert evaluate(("opus@24",), *options) == 2
    message = "other settings (systems); choose another `--output_dir`, or delete settings.json and its results there."
    assert message in capsys.readouterr().err


def test_items_have_their_sub_folders_and_few_embeddings_are_told(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("kick", "a/kick", "b/kick")):
        (tmp_path / f"data/{name}").parent.mkdir(parents=True, exist_ok=True)
        write_audio(tmp_path / f"data/{name}.wav", noise(8000, seed), RATE)
    options = [
        "--dataset_name",
        str(tmp_path / "data"),
        "--embeddings",
        "log_mel",
        "--output_dir",
        str(tmp_path / "out"),
    ]
    assert main(["evaluate", "--model", folders[0], *options]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert {item["name"] for item in results["items"]} == {"kick", "a/kick", "b/kick"}
    assert re.search(r"KAD log_mel is of \d+ embeddings; with fewer than 100", capsys.readouterr().err)


def test_anchors_alone_code_the_channels_of_the_data_and_rates_come_first(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset_name", str(sounds), "--embeddings", "--output_dir"]
    assert main(["evaluate", "--model", "opus@8", *options, str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["settings"]["audio_channels"] == 1
    rate = results["properties"]["opus@8"]["file_bits_per_second"]
    assert capsys.readouterr().out.splitlines()[2].split() == ["|", "kbit/s", "|", f"{rate / 1000:.3f}", "|"]
    assert (
        main(["evaluate", "--model", "opus@12", *DATA, "--embeddings", "--output_dir", str(tmp_path / "stereo")]) == 0
    )
    assert json.loads((tmp_path / "stereo/results.json").read_text())["settings"]["audio_channels"] == 2


def test_classes_are_those_of_the_other_commands_and_items_without_one_are_told(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    for seed in range(4):
        write_audio(tmp_path / f"data/{seed}.wav", noise(4000, seed), RATE)
    (tmp_path / "data/metadata.csv").write_text("file_name,take\n0.wav,1\n1.wav,\n2.wav,2.5\n3.wav,1\n")
    options = ["--label_column", "take", "--embeddings", "log_mel", "--format", "json"]
    assert main(["evaluate", "--model", folders[0], "--dataset_name", str(tmp_path / "data"), *options]) == 0
    printed = capsys.readouterr()
    classes = json.loads(printed.out)["classes"]
    assert {name: found["items"] for name, found in classes.items()} == {"1": 2, "2.5": 1}
    assert "1 of 4 items have no take and are in no class" in printed.err


def test_files_of_equal_size_are_other_data(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    options = ["--dataset_name", str(tmp_path / "data"), "--embeddings", "--output_dir", str(tmp_path / "out")]
    write_audio(tmp_path / "data/noise.wav", noise(8000, 0), RATE)
    assert main(["evaluate", "--model", folders[0], *options]) == 0
    assert main(["evaluate", "--model", folders[0], *options]) == 0
    write_audio(tmp_path / "data/noise.wav", noise(8000, 1), RATE)
    assert main(["evaluate", "--model", folders[0], *options]) == 2
    assert "other settings (dataset); choose another" in capsys.readouterr().err


def test_other_files_of_a_folder_are_other_data(
    folders: tuple[str, str], sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dataset_name", str(sounds), "--embeddings", "--output_dir", str(tmp_path / "out")]
    for name, code in (("1.wav", 0), ("1.wav", 0), ("2.wav", 2)):
        assert main(["evaluate", "--model", folders[0], *options, "--data_files", name]) == code
    assert "other settings (data_files); choose another" in capsys.readouterr().err


def test_the_working_folder_as_a_model_has_the_name_of_the_folder(
    folders: tuple[str, str], sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders[0])
    options = ["--dataset_name", str(sounds), "--embeddings", "--output_dir", str(tmp_path / "out")]
    assert main(["evaluate", "--model", ".", *options]) == 0
    assert list(json.loads((tmp_path / "out/results.json").read_text())["means"]) == ["mono"]


@pytest.mark.parametrize("verb", ["evaluate", "diffusability"])
def test_results_within_the_data_are_refused(
    verb: str, folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "a.wav", noise(RATE), RATE)
    arguments = ["--model", folders[0], "--dataset_name", str(tmp_path), "--output_dir", str(tmp_path / "results")]
    assert main([verb, *arguments]) == 2
    assert f"results is in the data {tmp_path}, which its files would change; choose a" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_metric_that_some_items_do_not_have_is_told(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyloudnorm")
    write_audio(tmp_path / "a.wav", noise(RATE), RATE)
    write_audio(tmp_path / "silent.wav", 0 * noise(RATE), RATE)
    arguments = ["--model", folders[0], "--dataset_name", str(tmp_path), "--embeddings"]
    assert main(["evaluate", *arguments, "--metrics", "loudness_error_lu", "loudness_range_error_lu"]) == 0
    said = capsys.readouterr().err
    assert "loudness_error_lu are defined for 1 of 2 items; silent or short items have none" in said
    assert "loudness_range_error_lu is defined for 0 of 2 items" in said
    assert "si_sdr_db, snr_db, phase_coherence, true_peak_error_db, loudness_error_lu are defined for 1 of 2" in said
    (tmp_path / "silent.wav").unlink()
    assert main(["evaluate", *arguments]) == 0
    assert "defined for" not in capsys.readouterr().err


def test_an_anchor_without_its_sign_is_told_before_the_hub_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--model", "opus16", *DATA]) == 2
    assert "--model opus16 is no anchor; give opus@16, a codec and kbit/s" in capsys.readouterr().err
