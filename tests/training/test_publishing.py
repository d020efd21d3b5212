import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import HfApi

from hf_audio_vae import STFTVAE, WaveformVAE
from hf_audio_vae.discriminators import DiscriminatorEnsemble, load_discriminators
from hf_audio_vae.models import new_autoencoder
from hf_audio_vae.training.autoencoder.config import AutoencoderTrainingConfig
from hf_audio_vae.training.autoencoder.publishing import MODEL_FILES, write_model
from hf_audio_vae.training.config import parse_config
from hf_audio_vae.training.publishing import push_folder
from tests.hub import mock_hub
from tests.training.runs import GAME, write_recipe

HISTORY = [
    {"step": 0, "si_sdr_db": -40.125, "kl": 1.5},
    {"step": 7, "si_sdr_db": 3.25, "kl": 9.75},
]


def test_the_recipe_of_a_fine_tuned_model_names_the_family_of_that_model(tmp_path: Path) -> None:
    recipe = str(write_recipe(tmp_path))
    config = parse_config(AutoencoderTrainingConfig, ["--config", recipe, "--output_dir", str(tmp_path / "model")])
    assert config.family == "WaveformVAE"
    arguments = {"downsampling_ratios": [4, 2], "hidden_sizes": [4, 4], "num_blocks": [1, 1], "window_length": 8}
    write_model(new_autoencoder("STFTVAE", arguments), config, HISTORY, tmp_path / "model", "tuned")
    written = yaml.safe_load((tmp_path / "model/recipe.yaml").read_text())
    again = new_autoencoder(written["family"], written["model"])
    assert isinstance(again, STFTVAE)
    assert {name: written["model"][name] for name in arguments} == arguments


def test_the_card_says_that_its_figures_are_of_the_training_data(tmp_path: Path) -> None:
    def card(*options: str) -> str:
        recipe = ["--config", str(write_recipe(tmp_path)), "--output_dir", str(tmp_path / "model"), *options]
        config = parse_config(AutoencoderTrainingConfig, recipe)
        write_model(WaveformVAE.from_config(config.model), config, HISTORY, tmp_path / "model", "a")
        return (tmp_path / "model/README.md").read_text()

    same = ["--dataset_name", "data/train", "--validation_dataset_name", "data/train"]
    said = "The validation data is the training data. The figures say nothing about other sound."
    assert card(*same).endswith(f"\n\n{said}\n")
    assert said not in card()
    assert said not in card(*same, "--held_out_share", "0.1")


def test_a_push_removes_the_files_of_an_earlier_model(tmp_path: Path) -> None:
    folder = tmp_path / "my-vae"
    config = parse_config(
        AutoencoderTrainingConfig, ["--config", str(write_recipe(tmp_path)), "--output_dir", str(folder)]
    )
    write_model(WaveformVAE.from_config(config.model), config, HISTORY, folder, "someone/my-vae")
    new = {"README.md", "config.json", "diffusion_pytorch_model.safetensors", "metrics.json", "recipe.yaml"}
    earlier = [
        "diffusion_pytorch_model.safetensors.index.json",  # loaders read it before the new weights
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "adapter_config.json",
        "discriminator/config.json",
        ".eval_results/someone--sounds.yaml",  # figures of the earlier weights
    ]
    others = {".gitattributes", "samples/a.wav", "latent_prior.safetensors"}
    with mock_hub() as hub:
        hub.files["someone/my-vae"] = dict.fromkeys([*earlier, *others, "config.json"], b"earlier")
        push_folder(folder, "someone/my-vae", HfApi(endpoint=hub.endpoint, token="hf_mock"), MODEL_FILES)
        assert set(hub.files["someone/my-vae"]) == new | others
        assert hub.files["someone/my-vae"]["config.json"] == (folder / "config.json").read_bytes()


@pytest.mark.parametrize("name", ["a/b/c", "../x", "ü"])
def test_a_name_that_is_no_repository_is_refused_before_the_training(name: str, tmp_path: Path) -> None:
    options = ["--config", str(write_recipe(tmp_path)), "--output_dir", str(tmp_path), "--hub_model_id", name]
    with pytest.raises(ValueError, match="hub_model_id"):
        parse_config(AutoencoderTrainingConfig, options)


@pytest.mark.slow
def test_what_is_pushed_is_loaded_from_the_hub_without_checkpoints_and_logs(tmp_path: Path) -> None:
    folder = tmp_path / "my-vae"
    config = parse_config(
        AutoencoderTrainingConfig, ["--config", str(write_recipe(tmp_path, **GAME)), "--output_dir", str(folder)]
    )
    torch.manual_seed(0)
    model = WaveformVAE.from_config(config.model)
    judge = DiscriminatorEnsemble(1, multi_period={"hidden_channels": 2, "periods": (2,)})
    write_model(model, config, HISTORY, folder, "someone/my-vae", judge)
    private_files = (
        "checkpoint-7/optimizer.safetensors .checkpoint-8.partial/x logs/events notes.txt "
        "ema/config.json ema/diffusion_pytorch_model.safetensors"
    )
    for private in private_files.split():
        (folder / private).parent.mkdir(exist_ok=True)
        (folder / private).write_bytes(b"x")
    with mock_hub() as hub:
        api = HfApi(endpoint=hub.endpoint, token="hf_mock")
        repo_id = api.create_repo("my-vae").repo_id
        push_folder(folder, repo_id, api, MODEL_FILES)
        assert repo_id == "someone/my-vae"
        assert set(hub.files[repo_id]) == {
            "README.md",
            "config.json",
            "diffusion_pytorch_model.safetensors",
            "discriminator/config.json",
            "discriminator/diffusion_pytorch_model.safetensors",
            "metrics.json",
            "recipe.yaml",
        }
        assert 'from_pretrained("someone/my-vae")' in hub.files[repo_id]["README.md"].decode()
        assert "is the path of this folder" not in hub.files[repo_id]["README.md"].decode()
        assert "3.250" in hub.files[repo_id]["README.md"].decode()
        recipe = yaml.safe_load(hub.files[repo_id]["recipe.yaml"])
        assert recipe["model"] == config.model | {"causal": False, "latents_mean": None, "latents_std": None}
        judges = {"multi_period": {"hidden_channels": 2, "periods": [2]}}
        assert recipe["adversarial"]["discriminators"] == judges, "what was used, not what the recipe asked for"
        # The library reads its endpoint when it is imported: another process.
        program = (
            "import sys\nfrom hf_audio_vae import WaveformVAE\n"
            "from hf_audio_vae.discriminators import load_discriminators\n"
            f"WaveformVAE.from_pretrained('{repo_id}').save_pretrained(sys.argv[1])\n"
            f"load_discriminators('{repo_id}').save_pretrained(sys.argv[1] + '/discriminator')"
        )
        reader = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "read")],
            env=os.environ | hub.environment(tmp_path / "home"),
            capture_output=True,
            text=True,
        )
        assert reader.returncode == 0, reader.stderr
    read = WaveformVAE.from_pretrained(tmp_path / "read")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), read.parameters(), strict=True))
    read_judge = load_discriminators(tmp_path / "read")
    assert all(torch.equal(a, b) for a, b in zip(judge.parameters(), read_judge.parameters(), strict=True))
