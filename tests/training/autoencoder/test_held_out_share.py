"""Training on a folder without validation data of its own."""

import json
import shlex
import shutil
from pathlib import Path

import datasets
import pytest
import yaml

from hf_audio_vae.cli.main import main
from tests.training.runs import RECIPE, REPO, command, equal, published_card, run, trained_weights, write_recipe

DATA = {
    "validation_dataset_name": RECIPE["dataset_name"],
    "held_out_share": 0.2,
    "max_validation_samples": 50,
    "checkpoints_total_limit": None,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("held_out_share")
    ended = run(command(write_recipe(folder, **DATA, dataloader_num_workers=2), folder / "out"))
    assert ended.returncode == 0, ended.stderr
    return folder, ended.stderr + ended.stdout


def test_the_log_and_the_card_name_the_share(finished: tuple[Path, str]) -> None:
    folder, log = finished
    assert "validations use about 20% of these items, chosen by their names; training does not" in log
    assert "the validation data is the training data" not in log
    assert "`train`, about 20 % of its items, which are not trained on" in published_card(folder / "out")


def test_the_command_at_the_end_measures_the_items_of_the_validation(
    finished: tuple[Path, str], tmp_path: Path
) -> None:
    folder, log = finished
    (line,) = [line for line in log.splitlines() if "hf-audio-vae evaluate" in line]
    words = shlex.split(line)[1:]
    assert words[words.index("--held_out_share") + 1] == "0.2"
    words[words.index("--output_dir") + 1] = str(tmp_path / "figures")
    seconds = str(load_recipe(folder / "out")["validation_seconds"])
    assert main([*words, "--max_seconds", seconds, "--embeddings"]) == 0
    results = json.loads((tmp_path / "figures/results.json").read_text())
    last = json.loads((folder / "out/metrics.json").read_text())[-1]
    assert results["means"]["out"]["mel_distance"]["mean"] == pytest.approx(last["mel_distance"], rel=1e-3)


def load_recipe(folder: Path) -> dict:
    return yaml.safe_load((folder / "recipe.yaml").read_text())


def test_a_resumed_run_of_a_moved_folder_is_bit_equal(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = finished
    shutil.copytree(REPO / "data/train", tmp_path / "moved")
    shutil.copytree(folder / "out/checkpoint-4", tmp_path / "out/checkpoint-4")
    moved = {name: str(tmp_path / "moved") for name in ("dataset_name", "validation_dataset_name")}
    again = command(write_recipe(tmp_path, **DATA | moved), tmp_path / "out", "--resume_from_checkpoint", "latest")
    ended = run(again)
    assert ended.returncode == 0, ended.stderr
    assert equal(trained_weights(tmp_path / "out", 8), trained_weights(folder / "out", 8))


def test_another_share_is_another_validation(finished: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(finished[0] / "out/checkpoint-4", tmp_path / "out/checkpoint-4")
    options = ["--resume_from_checkpoint", "latest", "--accept_changes", "--held_out_share"]
    recipe = write_recipe(tmp_path, **DATA)
    ended = run([*command(recipe, tmp_path / "out"), *options, "0.1"])
    assert ended.returncode == 0, ended.stderr
    assert "(held_out_share); its figures are not comparable with those of earlier steps" in ended.stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"validation_dataset_name": "data/held_out"}, "the validation data is another, data/held_out"),
        ({"held_out_share": 1.0}, "held_out_share"),
    ],
)
def test_a_share_of_nothing_is_one_line(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    ended = run(command(write_recipe(tmp_path, **DATA | changes), tmp_path / "out"))
    assert ended.returncode == 2
    assert message in ended.stderr
    assert not (tmp_path / "out/config.json").exists()


def test_a_share_without_any_item_is_an_error_before_the_first_step(tmp_path: Path) -> None:
    """The names in an archive are only known when it is read, so its share may be empty."""
    sounds = [path.read_bytes() for path in sorted((REPO / "data/held_out").glob("*.flac"))[:2]]
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict({"audio": sounds}).to_parquet(tmp_path / "data/sounds.parquet")
    data = {name: str(tmp_path / "data") for name in ("dataset_name", "validation_dataset_name")}
    data |= {"audio_column": "audio", "validation_audio_column": "audio"}
    ended = run(command(write_recipe(tmp_path, **DATA | data | {"held_out_share": 1e-9}), tmp_path / "out"))
    assert ended.returncode == 2
    assert "there is no item to validate on; give `validation_dataset_name`, or raise `held_out_share`" in ended.stderr
