"""Training by `hf-audio-vae`: the scripts of `training/`, their recipes by name, and both in a wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from hf_audio_vae.cli.main import TRAINING, main
from hf_audio_vae.cli.training_scripts import SCRIPTS, recipes, script_arguments, scripts_folder
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import parse_config
from tests.training.runs import RECIPE, REPO, SCRIPT, WEIGHTS

HELD_OUT = str(REPO / "data/held_out")
TWO_STEPS = ["--max_train_steps", "2", "--validation_steps", "2", "--report_to", "none"]


def test_every_script_is_a_command() -> None:
    assert set(SCRIPTS) == set(TRAINING)
    assert set(SCRIPTS.values()) == {path.stem for path in scripts_folder().glob("*.py")}


def test_every_recipe_says_its_command_and_what_it_is_for() -> None:
    named = [name for verb in SCRIPTS for name in recipes(verb)]
    assert sorted(named) == sorted(path.stem for path in (REPO / "training/recipes").glob("*.yaml"))
    assert all(text.endswith(".") and len(text) > 40 for verb in SCRIPTS for text in recipes(verb).values())


def test_a_recipe_without_a_name_lists_the_recipes_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train-diffusion", "--recipe"]) == 0
    out = capsys.readouterr().out
    assert "latent-diffusion-demo\n    a small denoiser" in out
    assert "stft-vae" not in out


def test_help_lists_recipes_and_says_where_all_options_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    assert "hf-audio-vae train [FOLDER] --recipe NAME" in out
    assert "Train or fine-tune an audio autoencoder." in out
    assert "vqvae-demo\n" in out
    with pytest.raises(SystemExit) as end:
        main(["train", "--recipe", "vqvae-demo", "--help"])
    assert end.value.code == 0
    assert "--learning_rate" in capsys.readouterr().out


def test_folder_and_recipe_become_options_of_the_script() -> None:
    recipe = str(scripts_folder() / "recipes/vqvae-demo.yaml")
    held_out = ["--validation_dataset_name", HELD_OUT]
    expected = ["--dataset_name", "my sound", "--config", recipe, "--seed", "1", *held_out]
    for given in (["--recipe", "vqvae-demo"], ["--recipe=vqvae-demo"]):
        assert script_arguments("train", ["my sound", "--seed", "1", *given, *held_out]) == expected
    assert script_arguments("encode-dataset", ["x", "--model", "m"]) == ["--dataset_name", "x", "--model", "m"]


def test_without_validation_data_a_tenth_of_the_folder_is_held_out() -> None:
    recipe = str(scripts_folder() / "recipes/vqvae-demo.yaml")
    held_out = ["--validation_dataset_name", "mine", "--validation_dataset_split", "train", "--held_out_share", "0.1"]
    given = ["mine", "--recipe", "vqvae-demo"]
    assert script_arguments("train", given) == ["--dataset_name", "mine", "--config", recipe, *held_out]
    config = parse_config(AutoencoderTrainingConfig, script_arguments("train", [*given, "--held_out_share", "0.3"]))
    assert config.held_out_share == 0.3
    assert "--held_out_share" in script_arguments("train", [*given, "--validation_seconds", "2"])
    assert "--held_out_share" not in script_arguments("train", [*given, "--validation_data_files", "x"])
    assert not config.validates_on_training_data()
    column = ["--audio_column=sound", "--dataset_split", "test"]
    described = parse_config(AutoencoderTrainingConfig, script_arguments("train", [*given, *column]))
    assert (described.validation_audio_column, described.validation_dataset_split) == ("sound", "test")
    for verb in ("train-diffusion", "train-prior", "train-token-vae"):
        name = next(iter(recipes(verb)))
        assert "--held_out_share" not in script_arguments(verb, ["codes", "--recipe", name])


def parsed(*arguments: str) -> AutoencoderTrainingConfig:
    return parse_config(AutoencoderTrainingConfig, [*script_arguments("train", arguments), "--output_dir", "out"])


def test_an_own_recipe_without_validation_data_holds_out_a_tenth(tmp_path: Path) -> None:
    own = own_recipe(tmp_path, validation_dataset_name=None, dataset_split="all", audio_column="sound")
    for arguments in (["mine", "--recipe", own], ["mine", "--config", own], ["--recipe", own]):
        config = parsed(*arguments)
        assert config.held_out_share == 0.1
        assert config.dataset_name == (arguments[0] if arguments[0] == "mine" else RECIPE["dataset_name"])
        for name in ("dataset_name", "dataset_split", "audio_column"):
            assert getattr(config, f"validation_{name}") == getattr(config, name)
    assert parsed("mine", "--recipe", own, "--held_out_share", "0.3").held_out_share == 0.3
    other = parsed("mine", "--recipe", own, "--validation_dataset_name", "other")
    assert (other.held_out_share, other.validation_dataset_name) == (None, "other")


def test_an_own_recipe_with_validation_data_keeps_it(tmp_path: Path) -> None:
    config = parsed("mine", "--recipe", own_recipe(tmp_path))
    assert (config.held_out_share, config.validation_dataset_name) == (None, RECIPE["validation_dataset_name"])
    of_a_run = own_recipe(tmp_path, validation_dataset_name=RECIPE["dataset_name"], held_out_share=0.2)
    config = parsed("mine", "--recipe", of_a_run)
    assert (config.held_out_share, config.validation_dataset_name) == (0.2, "mine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["FOLDER", "--recipe", "vqvae"], "`--recipe` names vqvae, which is neither a file nor a recipe of `train`"),
        (["FOLDER", "--recipe", "latent-diffusion-demo"], "nor a recipe of `train`"),
        (["FOLDER", "--seed", "1", "--recipe"], "`--recipe` has no value"),
    ],
)
def test_a_wrong_recipe_or_no_held_out_sound_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_folder_without_a_recipe_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "give a recipe with `--recipe NAME`, one of codec-24khz, dac-44khz, " in line


def test_the_options_of_a_recipe_have_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--recipe", "finetune-demo", "--help"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.startswith("  --")}
    assert lines["--max_train_steps"].endswith("(recipe 200)")
    assert lines["--seed"].endswith("(recipe 0)")
    assert lines["--max_skipped_steps"].endswith("(default 10)")


def test_no_arguments_are_an_error_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["train"])
    assert end.value.code == 2
    assert "give FOLDER and --recipe NAME" in capsys.readouterr().err


def own_recipe(folder: Path, **changes: object) -> str:
    """Write a recipe; a change to None removes an option."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in (RECIPE | changes).items() if value is not None}))
    return str(path)


@pytest.mark.slow
def test_the_command_trains_the_same_weights_as_the_script(tmp_path: Path) -> None:
    options = ["--config", own_recipe(tmp_path), *TWO_STEPS]
    script = [sys.executable, SCRIPT, *options, "--output_dir", str(tmp_path / "script")]
    command = [sys.executable, "-m", "hf_audio_vae", "train", str(REPO / "data/train"), "--recipe", options[1]]
    command += [*TWO_STEPS, "--output_dir", str(tmp_path / "command")]
    for run in (script, command):
        subprocess.run(run, check=True, capture_output=True, cwd=tmp_path)
    expected, weights = (load_file(tmp_path / folder / WEIGHTS) for folder in ("script", "command"))
    assert weights.keys() == expected.keys()
    assert all((weights[name] == expected[name]).all() for name in expected)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a wheel, outside of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
    for name in ("src", "training"):
        shutil.copytree(REPO / name, source / name, ignore=ignored)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, source)
    build = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    shutil.rmtree(source)
    return folder / "site"


@pytest.mark.slow
def test_a_wheel_trains_reconstructs_and_evaluates_without_the_clone(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "hf_audio_vae", *arguments]
        return subprocess.run(
            command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        ).stdout

    where = "import hf_audio_vae; print(hf_audio_vae.__file__)"
    used = subprocess.run(
        [sys.executable, "-c", where], env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True
    )
    assert used.stdout.startswith(str(installed)), "the clone would be tested"
    assert "stft-vae-demo" in run("train", "--recipe")
    small = ["--model.hidden_sizes", "[16,16]", "--train_batch_size", "2", "--max_validation_samples", "2"]
    here = ["--output_dir", "mine", "--dataloader_num_workers", "0"]
    run("train", str(REPO / "data/train"), "--recipe", "stft-vae-demo", *small, *here, *TWO_STEPS)
    sound = str(REPO / "data/held_out/music_musicbox.ogg")
    assert "mel distance" in run("reconstruct", sound, "--model", "mine", "--output_dir", "sounds")
    options = ["--max_seconds", "1", "--output_dir", "figures"]
    assert "mel distance" in run("evaluate", "--model", "mine", "--dataset_name", HELD_OUT, *options)
    assert "encoder.onnx" in run("export", "mine", "--output_dir", "exported")
    run("encode-dataset", HELD_OUT, "--model", "mine", "--output_dir", "latents")
    assert list((tmp_path / "latents").rglob("*.parquet"))
