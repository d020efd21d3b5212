"""Adapters of published models and of our own families, in peft's format."""

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
from diffusers import AutoencoderOobleck
from safetensors.torch import load_file
from torch import Tensor, nn

from hf_audio_vae import SpectrogramVAE, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.models import AutoencoderModel, BaseLocation, LoraAdapter, load_autoencoder, load_merged
from tests.models.peers.tiny import TINY, buildable
from tests.models.test_published_formats import original

FORMATS = ("AutoencoderOobleck", "DacModel", "EncodecModel", "MMAudioVAE", "AutoencoderKLLTX2Audio")
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def published(name: str, folder: Path) -> Any:
    theirs = TINY[name].new() if name in TINY else original(name)
    theirs.save_pretrained(folder)
    return theirs


def lively(adapter: LoraAdapter) -> LoraAdapter:
    """An adapter as after training: its second factors are not zero."""
    for update in adapter.updates:
        nn.init.normal_(update.lora_B, std=0.05, generator=torch.Generator().manual_seed(0))
    return adapter


def sound(model: AutoencoderModel) -> Tensor:
    shape = (1, model.config.audio_channels, 20 * model.hop_length)
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def reconstruction(model: AutoencoderModel) -> Tensor:
    return model.eval()(sound(model)).sample


@pytest.fixture
def oobleck(tmp_path: Path) -> Path:
    published("AutoencoderOobleck", tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def saved(oobleck: Path, tmp_path: Path) -> Path:
    """A saved adapter of an Oobleck."""
    adapter = LoraAdapter.new(load_autoencoder(oobleck), BaseLocation(str(oobleck)), rank=1)
    lively(adapter).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def edit(folder: Path, **values: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | values))


@pytest.mark.parametrize("name", buildable({*TINY, *FORMATS}))
def test_a_loaded_adapter_is_merged_and_published_as_the_original_class(name: str, tmp_path: Path) -> None:
    theirs = published(name, tmp_path / "base")
    model = load_autoencoder(tmp_path / "base")
    before = reconstruction(model)
    adapter = lively(LoraAdapter.new(model, BaseLocation(str(tmp_path / "base")), rank=1))
    adapter.attach(model)
    adapted = reconstruction(model)
    adapter.save_pretrained(tmp_path / "adapter")
    merged = load_autoencoder(tmp_path / "adapter")
    # Equal weights up to the rounding of a weight norm, 1e-7; a random model amplifies it by less than 300.
    torch.testing.assert_close(reconstruction(merged), adapted, rtol=0.0, atol=3e-5 * float(adapted.abs().max()))
    assert not torch.allclose(adapted, before, rtol=0.0, atol=1e-3 * float(before.abs().max()))
    merged.save_published(tmp_path / "merged")
    again = type(theirs).from_pretrained(tmp_path / "merged")
    assert again.state_dict().keys() == theirs.state_dict().keys()


CODEC = WaveformVQVAEConfig(
    encoder_hidden_size=8, downsampling_ratios=[2, 3], num_codebooks=2, codebook_size=8, codebook_learning="ema"
)
CLASSIC = {
    "network": "classic",
    "front_end": "mel",
    "downsampling_ratios": (64, 2),
    "bin_ratios": (2, 2),
    "block_out_channels": (4, 8),
    "layers_per_block": 1,
    "latent_channels": 4,
    "window_length": 256,
    "mel_bins": 16,
    "num_frames": 8,
    "sampling_rate": 8000,
}


@pytest.mark.parametrize("new", [lambda: WaveformVQVAE(CODEC), lambda: SpectrogramVAE(**CLASSIC)])
def test_a_step_leaves_codebooks_and_batch_norms(new: Callable[[], AutoencoderModel]) -> None:
    model = new().train()
    x = torch.randn(2, model.config.audio_channels, 8 * model.hop_length, generator=torch.Generator().manual_seed(0))
    model(x)  # starts the codebooks
    adapter = LoraAdapter.new(model, BaseLocation("x"), rank=1)
    unadapted = copy.deepcopy(model)
    adapter.attach(model)
    for trained, changes in ((unadapted, True), (model, False)):
        before = {name: value.clone() for name, value in trained.named_buffers()}
        output = trained(x, generator=[torch.Generator().manual_seed(0) for _ in x])
        sum(term.sum() for term in output.regularisers.values()).backward()
        after = dict(trained.named_buffers())
        assert changes == any(not torch.equal(value, after[name]) for name, value in before.items())
    assert any(
        float(update.lora_B.grad.abs().max()) > 0 for update in adapter.updates if update.lora_B.grad is not None
    )


def test_layers_are_adapted_where_the_factors_are_smaller_than_the_weight(oobleck: Path) -> None:
    model = load_autoencoder(oobleck)
    layers = dict(model.named_modules())
    adapter = LoraAdapter.new(model, BaseLocation(str(oobleck)), rank=1)
    sizes = {name: layers[name].weight_v.numel() for name in adapter.names}
    for name, update in zip(adapter.names, adapter.updates, strict=True):
        assert sum(factor.numel() for factor in update.parameters()) < sizes[name]
    left_out = [name for name, layer in layers.items() if hasattr(layer, "weight_v") and name not in sizes]
    assert left_out == ["decoder.conv2"]  # one channel of audio: a matrix of one row


def test_a_frozen_encoder_is_not_adapted(oobleck: Path) -> None:
    model = load_autoencoder(oobleck)
    model.freeze_encoder()
    names = LoraAdapter.new(model, BaseLocation(str(oobleck)), rank=1).names
    assert names and all(name.startswith("decoder.") for name in names)


def test_statistics_of_latents_stay_only_if_the_encoder_does(oobleck: Path) -> None:
    for targets, kept in ((r"decoder\..*", True), (r"encoder\..*", False)):
        model = load_autoencoder(oobleck)
        count = model.latent_channels
        model.register_to_config(latents_mean=[0.0] * count, latents_std=[1.0] * count)
        LoraAdapter.new(model, BaseLocation(str(oobleck)), rank=1, target_modules=targets).merge_into(model)
        assert (model.config.latents_mean is not None) == kept


def unwrapped(folder: Path) -> AutoencoderOobleck:
    """An Oobleck for peft, which takes its weights to be on the meta device if diffusers saved memory in loading."""
    return AutoencoderOobleck.from_pretrained(folder, low_cpu_mem_usage=False)


@torch.no_grad()
def test_peft_loads_an_adapter_of_layers_without_dilation(oobleck: Path, tmp_path: Path) -> None:
    model = load_autoencoder(oobleck)
    targets = ["decoder.conv1", "encoder.conv2"]
    adapter = lively(LoraAdapter.new(model, BaseLocation(str(oobleck)), rank=2, alpha=4, target_modules=targets))
    adapter.save_pretrained(tmp_path / "adapter")
    theirs = peft.PeftModel.from_pretrained(unwrapped(oobleck), tmp_path / "adapter")
    x = sound(model)
    ours = load_autoencoder(tmp_path / "adapter")
    expected, before = theirs.model.eval()(x).sample, model(x).sample
    torch.testing.assert_close(ours(x).sample, expected, rtol=0.0, atol=1e-5 * float(expected.abs().max()))
    assert float((expected - before).abs().max()) > 1e-2 * float(before.abs().max())


@torch.no_grad()
@pytest.mark.parametrize(
    ("new", "failure"),
    [
        (lambda: nn.Conv1d(4, 4, 3, padding=2, dilation=2), "must match"),
        (lambda: nn.ConvTranspose1d(4, 4, 4, 2), "not supported"),
        (lambda: nn.utils.weight_norm(nn.Conv1d(4, 4, 3)), "not close"),
    ],
    ids=["dilation", "transposed", "weight norm"],
)
def test_peft_itself_cannot_train_or_merge_these_layers(new: Callable[[], nn.Module], failure: str) -> None:
    config, x = peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False), torch.randn(1, 4, 20)
    with pytest.raises((RuntimeError, ValueError, AssertionError), match=failure):
        adapted = peft.get_peft_model(nn.Sequential(new()), config)
        expected = adapted(x)
        torch.testing.assert_close(adapted.merge_and_unload()(x), expected, rtol=0.0, atol=1e-4)


@torch.no_grad()
def test_an_adapter_of_peft_is_merged(oobleck: Path, tmp_path: Path) -> None:
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["decoder.conv1"], init_lora_weights=False)
    theirs = peft.get_peft_model(unwrapped(oobleck), config)
    theirs.save_pretrained(tmp_path / "adapter")
    with pytest.raises(ValueError, match="names no model that it changes; give one to `hf-audio-vae merge`"):
        load_autoencoder(tmp_path / "adapter")
    model = load_merged(LoraAdapter.from_pretrained(tmp_path / "adapter"), BaseLocation(str(oobleck)))
    latents = torch.randn(1, model.latent_channels, 9, generator=torch.Generator().manual_seed(0))
    expected = theirs.model.eval().decode(latents).sample
    torch.testing.assert_close(
        model.decode(latents).sample, expected, rtol=0.0, atol=1e-5 * float(expected.abs().max())
    )


def test_the_dtype_is_that_of_the_caller(saved: Path) -> None:
    assert load_autoencoder(saved, torch_dtype="bfloat16").dtype == torch.bfloat16


def test_a_base_of_another_size_is_refused_with_the_layers(saved: Path, tmp_path: Path) -> None:
    WaveformVAE(12, (2, 4), (1, 2), 8, 4, 1, 8000).save_pretrained(tmp_path / "other")
    edit(saved, base_model_name_or_path=str(tmp_path / "other"))
    with pytest.raises(ValueError, match=r"the adapter changes encoder\.\S+, .* does not have; give the model"):
        load_autoencoder(saved)


def test_a_missing_base_is_named(saved: Path, tmp_path: Path) -> None:
    edit(saved, base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(OSError, match=r"the adapter changes, \S+gone, cannot be loaded; .* `hf-audio-vae merge`"):
        load_autoencoder(saved)


def test_an_adapter_that_names_itself_is_refused(saved: Path) -> None:
    edit(saved, base_model_name_or_path=str(saved))
    with pytest.raises(OSError, match=r"the adapter changes, \S+adapter, cannot be loaded"):
        load_autoencoder(saved)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_rslora": True}, "it uses use_rslora"),
        ({"rank_pattern": {"conv1": 4}}, "it uses rank_pattern"),
        ({"later_option": 3}, "it uses later_option"),
        ({"peft_type": "LOHA"}, "describes no LoRA"),
        ({"r": 2}, "do not have rank 2"),
        ({"r": 0}, "its rank `r` is 0; it must be a whole number above 0"),
        ({"lora_alpha": 0}, "its `lora_alpha` is 0; it must be a number above 0"),
        ({"lora_alpha": -8}, "its `lora_alpha` is -8"),
        ({"lora_alpha": "8"}, "its `lora_alpha` is '8'"),
        ({"auto_mapping": ["WaveformVAE"]}, r"its `auto_mapping` is \['WaveformVAE'\], no object"),
        ({"base_model_name_or_path": 5}, "its `base_model_name_or_path` is 5, no text"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(saved: Path, values: dict[str, object], message: str) -> None:
    edit(saved, **values)
    with pytest.raises(ValueError, match=message):
        load_autoencoder(saved)


def test_target_modules_that_are_not_those_of_the_weights_are_refused(saved: Path) -> None:
    whole = (saved / CONFIG).read_text()
    targets = json.loads(whole)["target_modules"]
    edit(saved, target_modules=targets[1:])
    with pytest.raises(ValueError, match=f"weights of {targets[0]}, which its `target_modules` leave out"):
        LoraAdapter.from_pretrained(saved)
    edit(saved, target_modules=[*targets, "encoder.other"])
    with pytest.raises(ValueError, match="name encoder.other, which it has no weights of"):
        LoraAdapter.from_pretrained(saved)
    edit(saved, target_modules=targets, exclude_modules=targets[:1])
    with pytest.raises(ValueError, match="leave out"):
        LoraAdapter.from_pretrained(saved)
    ends = sorted({name.rpartition(".")[2] for name in targets})
    edit(saved, target_modules=ends, exclude_modules=None)  # as peft saves it again
    assert set(LoraAdapter.from_pretrained(saved).names) == set(targets)
    # An adapter of peft may name layers by their ends, by an expression, or that the model does not have.
    for named in ([*ends, "q_proj"], r".*", "all-linear", None):
        edit(saved, target_modules=named, auto_mapping=None)
        assert set(LoraAdapter.from_pretrained(saved).names) == set(targets)


def test_damaged_files_are_refused(saved: Path) -> None:
    tensors = load_file(saved / WEIGHTS)
    lacking = dict(list(tensors.items())[1:])
    safetensors.torch.save_file(lacking, saved / WEIGHTS)
    with pytest.raises(ValueError, match="not pairs of factors: base_model.model.decoder"):
        load_autoencoder(saved)
    (saved / WEIGHTS).write_bytes(b"\x00" * 9)
    with pytest.raises(ValueError, match=r"the adapter \S+ cannot be read"):
        load_autoencoder(saved)
    (saved / WEIGHTS).unlink()
    with pytest.raises(OSError, match=f"holds no {WEIGHTS}"):
        load_autoencoder(saved)
    edit(saved)
    (saved / CONFIG).write_text("{")
    (saved / WEIGHTS).write_bytes(safetensors.torch.save(tensors))
    with pytest.raises(ValueError, match=r"the adapter \S+ cannot be read"):
        load_autoencoder(saved)


def test_no_layer_to_adapt_is_an_error(oobleck: Path) -> None:
    model = load_autoencoder(oobleck)
    with pytest.raises(ValueError, match=r"no layer of the WaveformVAE .* `target_modules` \['q_proj'\]"):
        LoraAdapter.new(model, BaseLocation("x"), rank=1, target_modules=["q_proj"])
    with pytest.raises(ValueError, match="is larger than rank 500"):
        LoraAdapter.new(model, BaseLocation("x"), rank=500)


def test_without_peft_the_extra_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"pip install 'hf-audio-vae\[lora\]'"):
        load_autoencoder(saved)


def test_a_copied_adapter_is_independent(saved: Path) -> None:
    adapter = LoraAdapter.from_pretrained(saved)
    duplicate = copy.deepcopy(adapter)
    with torch.no_grad():
        adapter.updates[0].lora_B.add_(1)
    assert duplicate.names == adapter.names
    assert not torch.equal(duplicate.updates[0].lora_B, adapter.updates[0].lora_B)
