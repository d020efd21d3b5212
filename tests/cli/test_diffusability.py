"""The verb on two tiny models and real sound."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch

from hf_audio_vae import WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli import diffusability
from hf_audio_vae.cli.arguments.diffusability import add_arguments
from hf_audio_vae.cli.comparing import names_in_tables
from hf_audio_vae.cli.main import main
from hf_audio_vae.cli.parser import Parser
from hf_audio_vae.comparison.diffusability import Budget

DATA = Path(__file__).parents[2] / "data"
RATE = 8000
TINY = Budget(batch=2, crop_seconds=0.2, held_out_seconds=3.0, piece_seconds=1.0, sampler_steps=2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    for name, channels in (("few", 2), ("many", 8)):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            WaveformVAE(4, (8, 20), (1, 2), 4, channels, 1, RATE).save_pretrained(folder / name)
    return ["--model", str(folder / "few"), "--model", str(folder / "many")]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffusability, "BUDGET", TINY)


@pytest.fixture
def two_clips() -> list[str]:
    return ["--data_files", str(DATA / "held_out/speech_en_0890.flac"), str(DATA / "held_out/tabla_na.flac")]


@pytest.mark.slow
def test_the_verb_compares_two_models_and_continues(
    models: list[str], two_clips: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["diffusability", *models, "--dataset_name", str(DATA / "held_out"), *two_clips]
    arguments += ["--eval_dataset_name", str(DATA / "train"), "--max_seconds", "1", "--steps", "2"]
    arguments += ["--output_dir", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    results = json.loads((tmp_path / "results.json").read_text())
    assert [len(model["runs"]) for model in results["models"].values()] == [3, 3]
    assert set(results["findings"]) == {
        "gain_bits",
        "gain_kbits",
        "learnt_kbits",
        "KAD log_mel",
        "KAD musicnn",
        "spectrum_db",
    }
    assert results["models"]["few"]["numbers_per_second"] == 2 * RATE / 160
    assert "warning: the models differ in their latent numbers a second (few 100, many 400)" in printed.out
    assert (tmp_path / "results.md").read_text().strip() in printed.out
    assert "few: seed 0, 2 steps" in printed.err

    before = (tmp_path / "results.json").read_bytes()
    assert main(arguments) == 0
    assert (tmp_path / "results.json").read_bytes() == before
    assert "seed" not in capsys.readouterr().err
    assert main([*arguments, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == results
    assert main([*arguments, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {(row["model"], row["figure"]): float(row["mean"]) for row in rows} == {
        (name, figure): mean["mean"] for name, means in results["means"].items() for figure, mean in means.items()
    }
    alone = ["diffusability", "--model", models[1], *arguments[5:]]
    assert main(alone) == 0  # one of the models, which is measured already
    assert "seed" not in capsys.readouterr().err
    assert main([*arguments[:-4], "--steps", "3", "--output_dir", str(tmp_path)]) == 2
    assert "other settings (budget)" in capsys.readouterr().err


def test_without_held_out_data_each_fifth_clip_is_held_out(models: list[str]) -> None:
    parser = Parser()
    add_arguments(parser)
    arguments = parser.parse_args([*models, "--dataset_name", str(DATA / "train"), "--max_seconds", "0.1"])
    clips = diffusability.Clips(arguments)
    train, held_out = ([name for name, _ in part(RATE, 1)] for part in (clips.train, clips.held_out))
    assert len(held_out) == len(train + held_out) // 5
    assert not set(train) & set(held_out)


@pytest.mark.parametrize("changed", ["dataset", "eval_dataset", "data_files"])
def test_results_of_other_sounds_are_not_continued(
    changed: str,
    models: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("dataset", "eval_dataset"):
        (tmp_path / name).mkdir()
        for file in ("0.wav", "1.wav"):
            write_audio(tmp_path / name / file, 0.1 * torch.ones(1, RATE), RATE)
    arguments = ["diffusability", *models, "--dataset_name", str(tmp_path / "dataset"), "--output_dir"]
    arguments += [str(tmp_path / "out"), "--eval_dataset_name", str(tmp_path / "eval_dataset")]
    monkeypatch.setattr(diffusability, "measure_diffusability", lambda *_, **__: 1 / 0)  # after the settings
    with pytest.raises(ZeroDivisionError):
        main(arguments)
    if changed == "data_files":
        arguments += ["--data_files", "0.wav"]
    else:
        write_audio(tmp_path / changed / "1.wav", 0.2 * torch.ones(1, RATE), RATE)  # of equal size
    assert main(arguments) == 2
    assert f"other settings ({changed})" in capsys.readouterr().err


def test_a_model_in_the_working_directory_has_the_name_of_its_folder(
    models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models[1])
    assert names_in_tables([".", models[3]]) == ["few", "many"]
    assert names_in_tables(["a/vae", "b/vae"]) == ["a/vae", "b/vae"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "2"], "--seeds is 2; give 3 or more"),
        (["--steps", "0"], "--steps is 0; give 1 or more"),
        (["--eval_dataset_name", f"{DATA}/train/."], "is the training data; name held-out data, or leave it out"),
        (["--subfolder", "vae"], "--subfolder would be that of all 2 models"),
    ],
)
def test_wrong_options_are_one_line(
    options: list[str], message: str, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diffusability", *models, "--dataset_name", str(DATA / "train"), *options]) == 2
    assert message in capsys.readouterr().err


def test_a_codec_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = WaveformVQVAEConfig(
        sampling_rate=RATE, downsampling_ratios=[8], encoder_hidden_size=4, decoder_hidden_size=8, hidden_size=8
    )
    WaveformVQVAE(config).save_pretrained(tmp_path)
    assert main(["diffusability", "--model", str(tmp_path), "--dataset_name", str(DATA / "train")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].endswith("has codes, which have no denoiser; name models with latents.")
