"""What a run says at its start, and the commands that it names at its end: they run as they are."""

import re
import shlex
from pathlib import Path

import pytest

from hf_audio_vae.cli.main import main
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.messages import next_commands
from hf_audio_vae.training.config import parse_config
from tests.training.runs import command, run, write_recipe


def test_a_run_describes_its_model_and_names_commands_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my model"
    finished = run(command(write_recipe(tmp_path, max_train_steps=2, report_to="tensorboard"), out))
    assert finished.returncode == 0, finished.stderr
    assert "WaveformVAE: parameters 0.0" in finished.stderr
    assert "latents 2 channels at 1333.33 Hz, samples per latent number 3.0" in finished.stderr
    assert f"`tensorboard --logdir '{out}/logs'`" in finished.stderr
    assert re.search(r"step 2: SI-SDR \(dB, ↑\) -?[\d.]+( \*)?, multi-resolution STFT", finished.stderr)
    assert re.search(r"mel distance \(↓\) [\d.]+: (like|worse than) Opus at [\d.]+ kbit/s", finished.stdout)
    assert re.search(r"the model: [\d.]+ kbit/s of KL", finished.stdout)
    lines = finished.stdout.partition("to hear, measure and use it:\n")[2].splitlines()
    commands = [shlex.split(line) for line in lines]
    assert [words[:2] for words in commands] == [
        ["hf-audio-vae", verb] for verb in ("reconstruct", "evaluate", "encode-dataset")
    ]
    monkeypatch.chdir(tmp_path)
    assert main(commands[1][1:]) == 0
    assert (tmp_path / "my model-figures/results.json").is_file()


def test_the_commands_name_the_data_as_the_recipe_does(tmp_path: Path) -> None:
    data = {
        "dataset_name": "owner/sounds",
        "dataset_split": "all",
        "validation_dataset_split": "test",
        "validation_dataset_config_name": "cc0",
    }
    recipe = write_recipe(tmp_path, **data, validation_dataset_name="owner/sounds")
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(recipe), "--output_dir", "mine"])
    sounds, figures, encoded = next_commands(config)
    assert sounds == "hf-audio-vae reconstruct FILE --model mine --output_dir mine-sounds"
    assert "--dataset_name owner/sounds --dataset_config_name cc0 --dataset_split test" in figures
    assert encoded == (
        "hf-audio-vae encode-dataset --model mine --dataset_name owner/sounds --dataset_split all "
        "--output_dir mine-encoded"
    )


def test_a_folder_of_tables_is_not_named_as_one_of_sounds(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/a.parquet").touch()
    recipe = write_recipe(tmp_path, dataset_name=str(tmp_path / "tables"))
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(recipe), "--output_dir", "mine"])
    assert next_commands(config)[0] == "hf-audio-vae reconstruct FILE --model mine --output_dir mine-sounds"
