"""`docs/recipes.md`: the configuration reads its recipe and its forms of a weight, and its commands train."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.weights import WeightOptions

REPO = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(yaml|python|bash)\n(.*?)```", (REPO / "docs/recipes.md").read_text(), flags=re.DOTALL)
RECIPE, FORMS = (block for kind, block in BLOCKS if kind == "yaml")
(SCRIPT,) = (block for kind, block in BLOCKS if kind == "python")
COMMANDS = [block for kind, block in BLOCKS if kind == "bash"]
SHORT = "--max_train_steps 2 --max_validation_samples 1 --train_batch_size 2 --validation_seconds 0.5"


def test_the_recipe_is_complete(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    config = parse_config(AutoencoderTrainingConfig, ["--config", str(tmp_path / "mine.yaml")])
    assert config.family == "STFTVAE"
    assert set(config.build_weights(frame_rate=62.5)) == {"waveform_l1", "multi_resolution_stft", "kl"}
    assert not config.validates_on_training_data()
    assert config.ineffective_options().keys() & yaml.safe_load(RECIPE).keys() == set()


def test_the_five_forms_of_a_weight_are_five_kinds() -> None:
    adapter: TypeAdapter[WeightOptions] = TypeAdapter(WeightOptions)
    forms = {name: adapter.validate_python(value) for name, value in yaml.safe_load(FORMS).items()}
    assert len(forms) == len({type(form) for form in forms.values()}) == 5


@pytest.mark.slow
def test_the_recipe_and_the_loss_train(tmp_path: Path) -> None:
    (tmp_path / "my_sounds").mkdir()
    for path in sorted((REPO / "data/train").glob("speech_*"))[:12]:
        shutil.copy(path, tmp_path / "my_sounds")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    (tmp_path / "train_mine.py").write_text(SCRIPT)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    for command in COMMANDS:
        words = [*command.split(), *SHORT.split(), "--dataloader_num_workers", "0"]
        ran = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    assert (tmp_path / "mine/config.json").exists()
    assert yaml.safe_load((tmp_path / "louder/recipe.yaml").read_text())["losses"]["log_energy"] == {
        "window_length": 256
    }
