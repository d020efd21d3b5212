"""What a run says at its start, and the commands that it names at its end: they run as they are."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from hf_audio_vae.cli.main import main
from hf_audio_vae.models import new_autoencoder
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.messages import next_commands, remarks, validation_lines
from hf_audio_vae.training.autoencoder.validation import Clip
from hf_audio_vae.training.config import parse_config
from tests.training.runs import RECIPE, command, run, write_recipe


def test_a_run_describes_its_model_and_names_commands_that_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my model"
    finished = run(
        command(write_recipe(tmp_path, max_train_steps=2, report_to="tensorboard", validation_seconds=1.0), out)
    )
    assert finished.returncode == 0, finished.stderr
    assert "WaveformVAE: parameters 0.0" in finished.stderr
    assert "latents 2 channels at 1333.33 Hz, samples per latent number 3.0" in finished.stderr
    assert f"`tensorboard --logdir '{out}/logs'`" in finished.stderr
    assert re.search(r"step 2: SI-SDR \(dB, ↑\) -?[\d.]+( \*)?, multi-resolution STFT", finished.stderr)
    assert re.search(r"mel distance \(↓\) [\d.]+: (like|worse than) Opus at [\d.]+ kbit/s", finished.stdout)
    assert re.search(r"the model: [\d.]+ kbit/s of KL", finished.stdout)
    lines = finished.stdout.partition("to go on with it:\n")[2].splitlines()
    commands = [shlex.split(line) for line in lines]
    assert [words[:2] for words in commands] == [
        ["hf-audio-vae", verb] for verb in ("reconstruct", "evaluate", "encode-dataset")
    ]
    monkeypatch.chdir(tmp_path)
    assert main(commands[1][1:]) == 0
    assert (tmp_path / "my model-figures/results.json").is_file()


def test_few_clips_and_a_model_that_got_worse_are_told(tmp_path: Path) -> None:
    names = {"validation_dataset_name": RECIPE["dataset_name"], "held_out_share": 0.2}
    recipe = write_recipe(tmp_path, **names)
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(recipe), "--output_dir", "mine"])
    clips = [Clip(f"clip {i}", torch.zeros(1, 4000)) for i in range(6)]
    held_out, few = validation_lines(config, clips, 8000)
    assert held_out.endswith("training does not: clip 0, clip 1, clip 2, clip 3, clip 4, ...")
    assert few == "the validation has 6 items, 3.0 s in all: its metrics say little; use more sound"
    assert len(validation_lines(config, clips, 800)) == 1
    tuned = config.model_copy(update={"pretrained_model_name_or_path": "stft-vae-24khz"})
    short = [Clip("short", torch.zeros(1, 800))]  # Opus is not compared on it
    model, history = new_autoencoder(config.family, config.model), [{"mel_distance": 1.0}, {"mel_distance": 1.5}]
    opus, worse = remarks(model, tuned, history, short)
    assert opus.startswith("no figures of Opus beside the model's: the validation clips have 0.1 s on average")
    assert "is worse than before the training (1.000, then 1.500): lower `learning_rate`" in worse
    assert remarks(model, tuned, history[::-1], short) == [opus]
    assert remarks(model, config, history, short) == [opus]


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
