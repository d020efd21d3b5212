"""What the command line says of latents, on small models and real sound."""

import json
import math
import shutil
from pathlib import Path

import datasets
import pytest
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import read_audio
from hf_audio_vae.cli.main import main

DATA = Path(__file__).parents[2] / "data/held_out"
SPEECH = ["speech_en_0890.flac", "speech_ru_ru_0014.flac"]  # 16 kHz, mono: nothing is resampled
SECONDS = 0.3
SHORT = ["--max_seconds", str(SECONDS)]


def saved(folder: Path, gain: float) -> str:
    """A model whose posterior means, of whatever sound, are `gain` times as large."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveformVAE(4, (3, 5), (1, 2), 4, 4, 1, 16000)
    with torch.no_grad():
        model.encoder.conv2.weight_g[:4] *= gain
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("lively"), 100.0)


@pytest.fixture(scope="module")
def collapsed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(tmp_path_factory.mktemp("collapsed"), 0.0)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("speech")
    for name in SPEECH:
        shutil.copy(DATA / name, folder)
    return str(folder)


def tables(printed: str) -> list[list[list[str]]]:
    """The rows of each Markdown table, without its heading."""
    blocks = [[line for line in block.splitlines() if line.startswith("| ")] for block in printed.split("\n\n")]
    return [[[cell.strip() for cell in line.strip("|").split("|")] for line in block[1:]] for block in blocks if block]


@torch.no_grad()
def encoded(folder: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std of the speech's starts, (latent_channels, frames)."""
    model = WaveformVAE.from_pretrained(folder)
    clips = [read_audio(DATA / name)[0][None, :, : round(SECONDS * 16000)] for name in SPEECH]
    posteriors = [model.encode(clip).latent_dist for clip in clips]
    return tuple(torch.cat([getattr(one, name)[0] for one in posteriors], -1).double() for name in ("mean", "std"))


def test_the_numbers_are_those_of_the_encoded_clips(lively: str, speech: str, tmp_path: Path) -> None:
    assert main(["inspect", lively, "--dataset_name", speech, *SHORT, "--output_dir", str(tmp_path / "new")]) == 0
    report = json.loads((tmp_path / "new/latents.json").read_text())
    mean, std = encoded(lively)
    assert (report["items"], report["frames"]) == (2, mean.shape[1])
    assert report["seconds"] == pytest.approx(2 * SECONDS)
    assert report["frame_rate"] == 16000 / 15
    kl = ((mean**2 + std**2 - 1) / 2 - std.log()).mean(dim=1)
    # Whole clips are encoded in tiles: float32 rounding of that size, next to variances of hundreds.
    assert report["channels"]["kl_nats"] == pytest.approx(kl.tolist(), rel=1e-4)
    assert report["channels"]["mean_variance"] == pytest.approx(mean.var(dim=1, correction=0).tolist(), rel=1e-4)
    assert report["channels"]["mean"] == pytest.approx(mean.mean(dim=1).tolist(), rel=1e-4, abs=1e-4)
    assert sum(report["eigenvalues"]) == pytest.approx(sum(report["channels"]["mean_variance"]))
    assert report["summary"]["bits_per_second"] == pytest.approx(kl.sum().item() / math.log(2) * 16000 / 15, rel=1e-4)
    assert (tmp_path / "new/latents.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_tell_what_the_file_holds(
    lively: str, speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", lively, "--dataset_name", speech, *SHORT, "--output_dir", str(tmp_path)])
    report = json.loads((tmp_path / "latents.json").read_text())
    printed = capsys.readouterr().out
    summary, channels = tables(printed)
    assert [row[1] for row in summary] == [f"{value:.3f}" for value in report["summary"].values()]
    kl = report["channels"]["kl_nats"]
    assert [int(row[0]) for row in channels] == sorted(range(4), key=lambda channel: -kl[channel])
    for row in channels:
        names = ("kl_nats", "bits_per_second", "mean", "std", "excess_kurtosis")
        figures = [report["channels"][name][int(row[0])] for name in names]
        assert [*row[1:3], *row[4:]] == [f"{figure:.3f}" for figure in figures]
    assert "warning" not in printed


@pytest.mark.parametrize("name", ["latents.json", "latents.png"])
def test_a_record_of_latents_and_other_files_are_replaced_only_if_asked(
    name: str, lively: str, speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("{}")
    arguments = ["inspect", lively, "--dataset_name", speech, *SHORT, "--output_dir", str(tmp_path)]
    assert main(arguments) == 2
    assert f"{tmp_path / name} exists; name another --output_dir, or give --overwrite." in capsys.readouterr().err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "{}")]
    assert main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / name).stat().st_size > 100


def test_a_collapse_is_a_warning_and_no_error(collapsed: str, speech: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", collapsed, "--dataset_name", speech, *SHORT]) == 0
    (warning,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert "0 of 4 channels are active" in warning
    assert "share of 0.5" in warning
    assert main(["inspect", collapsed, "--dataset_name", speech, *SHORT, "--min_active_share", "0"]) == 0
    assert "warning" not in capsys.readouterr().out


def test_without_a_folder_nothing_is_written(
    lively: str, speech: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", lively, "--dataset_name", speech, *SHORT]) == 0
    assert not list(tmp_path.iterdir())


def test_evaluate_and_card_have_the_latents_figures_of_inspection(
    lively: str, speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = ["--dataset_name", speech, *SHORT, "--output_dir", str(tmp_path / "results")]
    assert main(["evaluate", "--model", lively, *measured]) == 0
    evaluated = dict(tables(capsys.readouterr().out)[0])
    main(["inspect", lively, "--dataset_name", speech, *SHORT])
    inspected = tables(capsys.readouterr().out)[0]
    results = ["--results", str(tmp_path / "results/results.json"), "--output_dir", str(tmp_path)]
    assert main(["card", lively, *results]) == 0
    on_card = [row for block in tables((tmp_path / "README.md").read_text()) for row in block]
    assert len(inspected) == 6
    for name, value in inspected:
        assert evaluated[name] == value
        assert [name, value] in on_card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere", "--dataset_name", "SPEECH"], "no model can be loaded from '/nowhere'"),
        (["LIVELY", "--dataset_name", "/nowhere"], "/nowhere"),
        (["LIVELY", "--dataset_name", "SPEECH", "--dataset_split", "none"], "none"),
        (["LIVELY", "--dataset_name", "EMPTY"], "holds no items"),
        (["LIVELY", "--dataset_name", "SPEECH", "--min_active_share", "50"], "--min_active_share is 50.0"),
        (["LIVELY", "--dataset_name", "SPEECH", "--output_dir", __file__], Path(__file__).name),
        (["LIVELY", "--dataset_name", "SPEECH", "--autoencoder", "x"], "--autoencoder names the codec of a TokenVAE"),
        (["DIVERGED", "--dataset_name", "SPEECH"], "its weight `encoder.conv2.weight_g` has NaN"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    lively: str,
    speech: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"LIVELY": lively, "SPEECH": speech, "DIVERGED": saved(tmp_path / "diverged", math.nan)}
    places["EMPTY"] = str(tmp_path / "empty")
    datasets.Dataset.from_dict({"audio": []}, datasets.Features({"audio": datasets.Audio()})).to_parquet(
        tmp_path / "empty/none.parquet"
    )
    assert main(["inspect", *(places.get(argument, argument) for argument in arguments)]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hf-audio-vae ")]
    assert len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize("verb", ["evaluate", "inspect"])
def test_items_that_cannot_be_read_are_named_beside_the_figures_of_the_others(
    verb: str, lively: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "train test"
    folder.mkdir()
    for name in SPEECH:
        shutil.copy(DATA / name, folder)
    (folder / "broken.wav").write_bytes(b"not audio")
    (folder / "cover.jpg").write_bytes(b"")
    model = ["--model", lively] if verb == "evaluate" else [lively]
    assert main([verb, *model, "--dataset_name", str(folder), *SHORT]) == 1
    printed = capsys.readouterr()
    assert "2 items" in printed.out
    assert "3 audio files" in printed.err
    assert "1 other file left out (.jpg 1)" in printed.err
    assert "1 of 3 items cannot be used and are not measured" in printed.err
    assert "broken.wav: the audio cannot be decoded (" in printed.err
    for name in SPEECH:
        (folder / name).write_bytes(b"not audio")
    assert main([verb, *model, "--dataset_name", str(folder), *SHORT]) == 2
    assert "holds no items that can be read" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["evaluate", "inspect"])
def test_a_data_set_is_described_by_all_its_options(
    verb: str, lively: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"speech": [(DATA / name).read_bytes() for name in SPEECH]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "rows.parquet")
    model = ["--model", lively] if verb == "evaluate" else [lively]
    arguments = [verb, *model, "--dataset_name", str(tmp_path), *SHORT]
    assert main(arguments) == 2
    assert "--audio_column" in capsys.readouterr().err
    options = ["--audio_column", "speech", "--data_files", "rows.parquet", "--dataset_split", "train"]
    assert main([*arguments, *options]) == 0
    assert "2 items" in capsys.readouterr().out
    assert main([*arguments, *options, "--dataset_revision", "v1"]) == 2
    assert main([*arguments, "--audio_column", "speech", "--dataset_config_name", "big"]) == 2
    assert "has no configurations" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["inf", "nan", "0", "-1", "1e-9", "1e308"])
def test_a_length_that_is_no_positive_number_is_refused(
    text: str, lively: str, speech: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", lively, "--dataset_name", speech, f"--max_seconds={text}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "--max_seconds is" in line
    assert ".wav" not in line, "the file is not at fault"
