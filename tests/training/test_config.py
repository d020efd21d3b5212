from pathlib import Path

import pytest
import yaml

from hf_audio_vae.losses import LinearAnnealing
from hf_audio_vae.training.config import AutoencoderTrainingConfig, parse_config
from tests.training.runs import RECIPE, REPO, write_recipe


def parse(recipe: Path, *arguments: str) -> AutoencoderTrainingConfig:
    return parse_config(AutoencoderTrainingConfig, ["--config", str(recipe), "--output_dir", "out", *arguments])


def test_options_override_the_recipe_and_leave_the_rest(tmp_path: Path) -> None:
    config = parse(
        write_recipe(tmp_path),
        "--learning_rate",
        "1e-4",  # text, to YAML
        "--model.causal=true",
        "--model.downsampling_ratios",
        "[4, 5]",
        "--push_to_hub",
        "--weights.kl",
        "0.5",
    )
    assert config.learning_rate == 1e-4
    assert config.model == RECIPE["model"] | {"causal": True, "downsampling_ratios": [4, 5]}
    assert config.push_to_hub is True
    assert config.weights["kl"] == 0.5
    assert config.weights["waveform_l1"] == 1.0


def test_a_number_that_yaml_takes_for_text_is_a_number(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"learning_rate": 0}).replace("learning_rate: 0", "learning_rate: 1e-4"))
    assert parse(recipe).learning_rate == 1e-4


def test_no_mixed_precision_is_not_false(tmp_path: Path) -> None:
    assert parse(write_recipe(tmp_path), "--mixed_precision", "no").mixed_precision == "no"


def test_an_annealed_weight_becomes_its_schedule(tmp_path: Path) -> None:
    assert parse(write_recipe(tmp_path)).build_weights()["kl"] == LinearAnnealing(1e-4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max_train_steps", "five"], "max_train_steps: .*got 'five'"),
        (["--nonsense", "1"], "nonsense: Extra inputs"),
        (["--losses.nonsense", "{}"], "losses.nonsense: Extra inputs"),
        (["--mixed_precision", "int8"], "mixed_precision: "),
        (["--ema_decay", "1"], "ema_decay: "),
        (["learning_rate", "1"], "belongs to no option"),
        (["--config", "nowhere.yaml"], "nowhere.yaml, which is not a file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(write_recipe(tmp_path), *arguments)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({k: v for k, v in RECIPE.items() if k != "dataset_name"}))
    with pytest.raises(ValueError, match="dataset_name: Field required"):
        parse(recipe)


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_config(AutoencoderTrainingConfig, ["--help"])
    listed = capsys.readouterr().out
    assert all(f"--{name} " in listed for name in AutoencoderTrainingConfig.model_fields)


@pytest.mark.parametrize("recipe", sorted((REPO / "training/recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_recipes_are_complete_and_train_on_nothing_held_out(recipe: Path) -> None:
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(recipe)])
    terms = {name for name, options in config.losses if options is not None} | {"kl"}
    assert terms == set(config.weights)
    assert "held_out" not in config.dataset_name
    assert "held_out" not in str(config.data_files)
