from pathlib import Path

import datasets
import pytest
import soundfile

from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.encoding.config import EncodingConfig
from tests.training.runs import command, run, write_recipe

NAMES = ["soul train [1] #%", "a: b", "[x]*", "{x}", "it's", '"quoted"', "1e3", "no", "- a", " x ", "#1", "&a", "@b"]


@pytest.mark.parametrize("name", NAMES)
def test_names_on_the_command_line_are_taken_as_they_are(name: str) -> None:
    config = parse_config(EncodingConfig, ["--model", name, "--dataset_name", name, "--output_dir", name])
    assert (config.model, config.dataset_name, config.output_dir) == (name, name, Path(name))
    config = parse_config(
        EncodingConfig, ["--model=m", "--dataset_name=d", "--output_dir=o", f"--audio_column={name}"]
    )
    assert config.audio_column == name


def test_a_list_of_files_is_a_list_and_a_pattern_is_none() -> None:
    required = ["--model", "m", "--dataset_name", "d", "--output_dir", "o"]
    assert parse_config(EncodingConfig, [*required, "--data_files", '["a.wav", "b c.wav"]']).data_files == [
        "a.wav",
        "b c.wav",
    ]
    assert parse_config(EncodingConfig, [*required, "--data_files", "[a-c]*.wav"]).data_files == "[a-c]*.wav"
    assert parse_config(EncodingConfig, [*required, "--data_files", "null"]).data_files is None


def test_validation_data_has_every_option_of_training_data() -> None:
    fields = AutoencoderTrainingConfig.model_fields
    options = [name for name in fields if name.startswith("dataset_") or name in ("data_files", "audio_column")]
    assert len(options) == 6, "name, configuration, split, revision, files, column"
    assert {f"validation_{name}" for name in options} <= fields.keys()


@pytest.mark.slow
def test_a_run_says_its_data_and_uses_all_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "soul train [1] #%"
    (folder / "test pressing").mkdir(parents=True)
    for name in ("train_horn.wav", "rain.wav", "test pressing/door.WAV"):
        soundfile.write(folder / name, [0.1, -0.1] * 2000, 8000, format="WAV")
    (folder / "cover.jpg").touch()
    (tmp_path / "held out").mkdir()
    datasets.Dataset.from_dict({"sound": [(folder / "rain.wav").read_bytes()], "n": [1]}).to_parquet(
        tmp_path / "held out/rows.parquet"
    )
    recipe = write_recipe(tmp_path, validation_dataset_name=str(tmp_path / "held out"), max_train_steps=1)
    options = ("--dataset_name", str(folder), "--report_to", "none")
    refused = run(command(recipe, tmp_path / "out", *options))
    assert refused.returncode == 2
    assert "`validation_audio_column`" in refused.stderr
    finished = run(command(recipe, tmp_path / "out", *options, "--validation_audio_column", "sound"))
    assert finished.returncode == 0, finished.stderr
    assert f"{folder}: 3 audio files, 1.5 s; 1 other file left out (.jpg 1)" in finished.stderr
    assert "held out: 1 parquet file, split 'train' of train" in finished.stderr
