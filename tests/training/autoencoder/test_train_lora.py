"""Training of adapters by the script: of our families and of published classes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from hf_audio_vae import STFTVAE, WaveformVAE
from hf_audio_vae.cli.main import main
from hf_audio_vae.models import BaseLocation, LoraAdapter, load_autoencoder
from hf_audio_vae.modules.low_rank import weight_of
from hf_audio_vae.training.autoencoder.adapting import AdapterEMA
from tests.models.peers.tiny import TINY
from tests.models.test_published_formats import original
from tests.training.autoencoder.test_fine_tune_published import latents_of, recipe_for, weights_of
from tests.training.runs import GAME, command, equal, published_card, run, trained_weights, write_recipe

ADAPTER = "adapter_model.safetensors"
NEW: dict[str, Callable[[], Any]] = {
    "WaveformVAE": lambda: WaveformVAE(8, (2, 3), (1, 2), 8, 4, 1, 8000),
    "STFTVAE": lambda: STFTVAE((32, 2), (16, 24), (1, 1), 4, audio_channels=1, sampling_rate=8000, window_length=128),
    "AutoencoderOobleck": lambda: original("AutoencoderOobleck"),
    "DacModel": lambda: original("DacModel"),
    "MimiModel": TINY["MimiModel"].new,
}


def saved(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    NEW[name]().save_pretrained(folder)
    return folder


def lora_recipe(source: Path, folder: Path, **changes: object) -> Path:
    return recipe_for(source, folder, **({"lora": {"rank": 1}, "learning_rate": 1e-2} | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", NEW)
def test_an_adapter_lowers_the_loss_of_a_frozen_model(name: str, tmp_path: Path) -> None:
    base = saved(name, tmp_path / "base")
    before = contents(base)
    finished = run(command(lora_recipe(base, tmp_path), tmp_path / "tuned"))
    assert finished.returncode == 0, finished.stderr
    history = json.loads((tmp_path / "tuned/metrics.json").read_text())
    assert history[-1]["multi_resolution_stft"] < history[0]["multi_resolution_stft"]
    assert contents(base) == before

    adapter, model = LoraAdapter.from_pretrained(tmp_path / "tuned"), load_autoencoder(base)
    factors = sum(factor.numel() for factor in adapter.parameters())
    total = sum(parameter.numel() for parameter in model.parameters())
    assert f"{len(adapter.names)} layers (" in finished.stderr
    assert f"{factors:,} parameters, {factors / total:.1%} of the {total:,} of the model" in finished.stderr
    files = {path.name for path in (tmp_path / "tuned").iterdir() if path.is_file()}
    assert files == {"adapter_config.json", ADAPTER, "README.md", "metrics.json", "recipe.yaml"}
    card = published_card(tmp_path / "tuned")
    assert "library_name: peft" in card
    assert main(["card", str(tmp_path / "tuned")]) == 0
    assert published_card(tmp_path / "tuned") == card, "the verb describes an adapter as the training does"
    assert sum(value.numel() for value in load_file(tmp_path / "tuned" / ADAPTER).values()) == factors < total / 4

    trained = trained_weights(tmp_path / "tuned", 20)
    for key, value in model.state_dict().items():  # what is not adapted keeps its name
        assert key not in trained or torch.equal(trained[key], value), key
    prefix = "original." if model.published_module is not model else ""
    for layer_name in adapter.names:
        (key,) = [key for key in trained if key.startswith(f"{prefix}{layer_name}.param") and ".original" in key]
        torch.testing.assert_close(trained[key], weight_of(model.published_module.get_submodule(layer_name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AutoencoderOobleck", "DacModel"])
def test_an_adapter_of_a_decoder_keeps_latents_bit_by_bit_against_whole_discriminators(
    name: str, tmp_path: Path
) -> None:
    base = saved(name, tmp_path / "base")
    game = GAME["adversarial"] | {"start_step": 0, "warmup_discriminator_steps": 2, "update_interval": 1}
    options = {
        "adversarial": game,
        "decoder_only_from_step": 0,
        "weights": weights_of(base) | {"adversarial": 0.1, "feature_matching": 0.1},
        "max_train_steps": 6,
        "checkpointing_steps": 2,
    }
    finished = run(command(lora_recipe(base, tmp_path, **options), tmp_path / "tuned"))
    assert finished.returncode == 0, finished.stderr
    before, after = load_autoencoder(base), load_autoencoder(tmp_path / "tuned")
    x = 0.3 * torch.randn(1, before.config.audio_channels, 3000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(latents_of(before, x), latents_of(after, x))
    assert not torch.equal(before(x).sample, after(x).sample)
    assert all(key.startswith("decoder.") for key in LoraAdapter.from_pretrained(tmp_path / "tuned").names)
    assert "bit-equal output on 2 validation clips" in (tmp_path / "tuned/README.md").read_text()
    first, last = (trained_weights(tmp_path / "tuned", step, "discriminator") for step in (2, 6))
    assert not any(torch.equal(first[key], last[key]) for key in first if key.endswith("weight_v"))


def resumable(folder: Path, **changes: object) -> Path:
    """A recipe of eight steps with discriminators, a controlled KL and an average, on a tiny WaveformVAE."""
    saved("WaveformVAE", folder / "base")
    options = {"pretrained_model_name_or_path": str(folder / "base"), "lora": {"rank": 1, "alpha": 2}, "model": {}}
    options["lr_scheduler"] = "constant"  # other schedules depend on the number of steps
    return write_recipe(folder, **(GAME | options | changes))


def test_a_resumed_run_is_equal_bit_by_bit(tmp_path: Path) -> None:
    recipe = resumable(tmp_path)
    for options in (
        ["straight"],
        ["resumed", "--max_train_steps", "4"],
        ["resumed", "--resume_from_checkpoint", "latest"],
    ):
        name, *rest = options
        finished = run(command(recipe, tmp_path / name, *rest))
        assert finished.returncode == 0, finished.stderr
    for network in ("model", "discriminator"):
        straight, resumed = (trained_weights(tmp_path / name, 8, network) for name in ("straight", "resumed"))
        assert equal(straight, resumed)
    for place in (ADAPTER, f"checkpoint-8/ema/{ADAPTER}"):
        assert equal(load_file(tmp_path / "straight" / place), load_file(tmp_path / "resumed" / place))
    factors = load_file(tmp_path / "straight" / ADAPTER)
    assert all(float(factor.abs().max()) > 0 for factor in factors.values()), "second factors are zero at first"
    average = load_autoencoder(tmp_path / "straight/checkpoint-8/ema")
    assert equal(average.state_dict(), load_autoencoder(tmp_path / "straight").state_dict())


@pytest.mark.parametrize("options", [["--gradient_checkpointing"], ["--torch_compile"]])
@pytest.mark.slow
def test_recomputed_and_compiled_networks_train_alike(options: list[str], tmp_path: Path) -> None:
    recipe = resumable(tmp_path, lora={"rank": 1, "target_modules": "decoder.*"})
    for name, given in (("plain", []), ("other", options)):
        finished = run(command(recipe, tmp_path / name, "--max_train_steps", "3", *given))
        assert finished.returncode == 0, finished.stderr
    plain, other = (load_file(tmp_path / name / ADAPTER) for name in ("plain", "other"))
    for key in plain:
        torch.testing.assert_close(plain[key], other[key], rtol=1e-3, atol=1e-5, msg=key)
    assert all(".decoder." in key for key in plain)


def test_an_adapter_is_not_resumed_on_other_weights(tmp_path: Path) -> None:
    base, averages = saved("WaveformVAE", tmp_path / "base"), []
    for _ in range(3):
        model = load_autoencoder(base)
        if len(averages) == 2:
            next(model.decoder.parameters()).data[..., 0] += 1e-6
        adapter = LoraAdapter.new(model, BaseLocation(str(base)), rank=1)
        averages.append(AdapterEMA(model, adapter, 0.9))
    averages[0].model.save_pretrained(tmp_path / "checkpoint")
    checkpoint = LoraAdapter.from_pretrained(tmp_path / "checkpoint")
    averages[1].load(checkpoint)
    with pytest.raises(ValueError, match=f"adapts other weights than {base} has now; restore them, or begin a new"):
        averages[2].load(checkpoint)


def test_what_cannot_be_adapted_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = resumable(tmp_path)

    def refusal(*options: str) -> str:
        finished = run(command(recipe, tmp_path / "out", *options))
        assert finished.returncode == 2
        return finished.stderr

    assert "`lora` adapts a pretrained model; give `pretrained_model_name_or_path`" in refusal(
        "--pretrained_model_name_or_path", "null"
    )
    assert "no layer of the WaveformVAE" in refusal("--lora.target_modules", "['q_proj']")
    base = tmp_path / "base"
    LoraAdapter.new(load_autoencoder(base), BaseLocation(str(base)), rank=1).save_pretrained(tmp_path / "adapter")
    assert "adapter is an adapter; merge it into its model first" in refusal(
        "--pretrained_model_name_or_path", str(tmp_path / "adapter")
    )
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "adapters need peft; install it with `pip install 'hf-audio-vae[lora]'`" in refusal()
