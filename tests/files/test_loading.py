"""Models of other libraries are loaded only from files that hold exactly their weights."""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    DacConfig,
    DacModel,
    EncodecConfig,
    EncodecModel,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

from hf_audio_vae.files.loading import load_checked
from tests.pipelines.latent_parts import transformer

REPO = Path(__file__).parents[2]
Weights = dict[str, Tensor]
GPT2 = GPT2Config(n_layer=2, n_embd=8, n_head=2, vocab_size=16, n_positions=16)
LLAMA = LlamaConfig(
    hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, vocab_size=8
)
T5 = T5Config(num_layers=1, d_model=8, d_kv=4, d_ff=8, num_heads=2, vocab_size=16)
DAC = DacConfig(
    encoder_hidden_size=4,
    decoder_hidden_size=16,
    hidden_size=16,
    downsampling_ratios=[2, 2],
    upsampling_ratios=[2, 2],
    n_codebooks=2,
    codebook_size=16,
    codebook_dim=4,
)
ENCODEC = EncodecConfig(
    num_filters=4,
    hidden_size=8,
    upsampling_ratios=[2, 2],
    codebook_size=16,
    num_lstm_layers=1,
    target_bandwidths=[1.5],
)
MODELS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "gpt2": (AutoModelForCausalLM, lambda: GPT2LMHeadModel(GPT2)),
    "llama": (AutoModelForCausalLM, lambda: LlamaForCausalLM(LLAMA)),
    "t5": (T5EncoderModel, lambda: T5EncoderModel(T5)),
    "dac": (DacModel, lambda: DacModel(DAC)),
    "encodec": (EncodecModel, lambda: EncodecModel(ENCODEC)),
    "dit": (type(transformer()), transformer),
}


def edit(folder: Path, change: Callable[[Weights], Weights]) -> None:
    (file,) = folder.glob("*.safetensors")
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def renamed(weights: Weights, *, old: str, new: str) -> Weights:
    return {name.replace(old, new): value for name, value in weights.items()}


@pytest.mark.parametrize("options", [{}, {"device_map": {"": "meta"}}], ids=["loaded", "only checked"])
@pytest.mark.parametrize("name", MODELS)
def test_weights_that_are_not_the_models_are_named(
    name: str, options: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model_class, new = MODELS[name]
    new().save_pretrained(tmp_path)
    load_checked(model_class, tmp_path, **options)
    (file,) = tmp_path.glob("*.safetensors")
    whole, weights = file.read_bytes(), load_file(file)
    key = min(key for key, value in weights.items() if value.ndim > 1 and "embed" not in key)
    rest = {other: value for other, value in weights.items() if other != key}
    for changed, words in (
        (rest, f"1 missing: {key}"),
        (weights | {"other": torch.zeros(1)}, "1 unknown: other"),
        (rest | {"renamed": weights[key]}, f"1 missing: {key}; 1 unknown: renamed"),
        (weights | {key: torch.zeros(77)}, f"1 different: {key} (77,) instead of {tuple(weights[key].shape)}"),
        ({"other": torch.zeros(1)}, "missing: "),
    ):
        save_file(changed, file, metadata={"format": "pt"})
        with pytest.raises(ValueError) as caught:
            load_checked(model_class, tmp_path, **options)
        assert words in str(caught.value)
        assert str(tmp_path) in str(caught.value)
    file.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=f"{file.name} is damaged"):
        load_checked(model_class, tmp_path, **options)
    assert "LOAD REPORT" not in capfd.readouterr().err


@pytest.mark.parametrize("name", MODELS)
def test_weights_that_are_not_finite_are_named(name: str, tmp_path: Path) -> None:
    model_class, new = MODELS[name]
    new().save_pretrained(tmp_path)
    edit(tmp_path, lambda weights: {key: value / 0 for key, value in weights.items()})
    with pytest.raises(ValueError, match="its weight `.*` has NaN or infinite values"):
        load_checked(model_class, tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("dac", {"n_codebooks": 3}, "missing: quantizer.quantizers.2"),
        ("dac", {"n_codebooks": 1}, "unknown: quantizer.quantizers.1"),
        ("dac", {"sampling_rate": "x"}, "cannot be loaded: .*sampling_rate"),
        ("gpt2", {"n_layer": 3}, "12 missing: transformer.h.2"),
        ("gpt2", {"n_embd": 4}, "different: "),
        ("dit", {"num_layers": 3}, "missing: transformer_blocks.2"),
        ("dit", {"num_layers": 1}, "unknown: transformer_blocks.1"),
        ("dit", {"num_layers": "x"}, "cannot be loaded: "),
    ],
)
def test_a_configuration_of_other_weights_is_refused(
    name: str, changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    model_class, new = MODELS[name]
    new().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=message):
        load_checked(model_class, tmp_path)


def test_whole_models_load_whatever_their_layout(tmp_path: Path) -> None:
    model = GPT2LMHeadModel(GPT2)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="2KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    model.transformer.save_pretrained(tmp_path / "base")  # its head has the weights of the embedding
    for folder in ("sharded", "base"):
        loaded = load_checked(AutoModelForCausalLM, tmp_path, subfolder=folder)
        assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
        assert not loaded.training
    EncodecModel(ENCODEC).save_pretrained(tmp_path / "encodec")
    for number, letter in enumerate("gv"):  # names of weight norm in published files
        old, new = f"parametrizations.weight.original{number}", f"weight_{letter}"
        edit(tmp_path / "encodec", lambda weights, old=old, new=new: renamed(weights, old=old, new=new))
    load_checked(EncodecModel, tmp_path / "encodec")


def test_a_part_of_a_model_is_loaded_if_the_other_parts_are_named(tmp_path: Path) -> None:
    whole = T5ForConditionalGeneration(T5)
    whole.save_pretrained(tmp_path)
    edit(tmp_path, lambda weights: weights | {"lm_head.weight": torch.zeros(16, 8)})  # as in T5 1.1
    load_checked(T5EncoderModel, tmp_path, unused=r"^lm_head\.")
    with pytest.raises(ValueError, match=r"1 unknown: lm_head\.weight"):
        load_checked(T5EncoderModel, tmp_path)


def test_a_revision_of_a_folder_is_refused(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2).save_pretrained(tmp_path)
    load_checked(AutoModelForCausalLM, tmp_path, revision="main")
    with pytest.raises(ValueError, match="`revision` 'abc' has no effect on the local folder"):
        load_checked(AutoModelForCausalLM, tmp_path, revision="abc")


def test_no_model_of_another_library_is_loaded_unchecked() -> None:
    unchecked = []
    for path in [*(REPO / "src").rglob("*.py"), *(REPO / "training").glob("*.py")]:
        tree = ast.parse(path.read_text())
        theirs = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("transformers", "diffusers")
            for alias in node.names
        }
        unchecked += [
            f"{path.name}: {node.value.id}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr == "from_pretrained" and isinstance(node.value, ast.Name)
            if node.value.id in theirs - {"AutoTokenizer"} and not node.value.id.endswith("FeatureExtractor")
        ]
    assert unchecked == []
