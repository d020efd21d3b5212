import importlib
import re
from pathlib import Path

import pytest
import torch
import yaml

import hf_audio_vae
from hf_audio_vae.models import (
    FAMILIES,
    VariationalAutoencoderMixin,
    model_arguments,
    new_autoencoder,
    with_training_arguments,
)
from tests.models.codec_contract import CodecContract
from tests.models.contract import AutoencoderContract

ROOT = Path(__file__).parents[2]


def folder(name: str) -> str:
    """Return the snake-case name of a family, which its folder and its files carry."""
    return FAMILIES[name].__module__.split(".")[-2]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_named_as_its_class_and_lives_in_its_folder(name):
    assert FAMILIES[name].__name__ == name
    assert FAMILIES[name].__module__ == f"hf_audio_vae.models.{folder(name)}.modeling_{folder(name)}"
    assert getattr(hf_audio_vae, name) is FAMILIES[name]
    assert name in hf_audio_vae.__all__


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_names_the_library_of_its_base_class(name):
    loading = next(base for base in FAMILIES[name].__mro__ if base.__name__ in ("ModelMixin", "PreTrainedModel"))
    assert loading.__module__.partition(".")[0] == FAMILIES[name].library_name


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_keeps_the_contract(name):
    module = importlib.import_module(f"tests.models.{folder(name)}.test_modeling_{folder(name)}")
    contract = AutoencoderContract if issubclass(FAMILIES[name], VariationalAutoencoderMixin) else CodecContract
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    kept = [c for c in classes if issubclass(c, contract) and c is not contract]
    assert FAMILIES[name] in [c.model_class for c in kept]
    assert any(c.__name__.startswith("Test") for c in kept)  # or pytest would not collect it


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_a_recipe(name):
    recipes = (yaml.safe_load(path.read_text()) for path in (ROOT / "training" / "recipes").glob("*.yaml"))
    assert name in [recipe.get("family") for recipe in recipes]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_a_model_card(name):
    assert list((ROOT / "model_cards").glob(f"{folder(name)}*.md"))


def test_a_new_model_is_made_from_what_a_model_tells_of_itself():
    vqvae = {"encoder_hidden_size": 2, "decoder_hidden_size": 4, "downsampling_ratios": [2], "hidden_size": 4}
    for family, config in (
        ("WaveformVAE", {"encoder_hidden_size": 4, "downsampling_ratios": [2], "channel_multiples": [1]}),
        ("WaveformVQVAE", vqvae | {"num_codebooks": 2, "codebook_size": 8, "restart_share": None}),
        ("HierarchicalVQVAE", {"width": 2, "hidden_size": 4, "codebook_size": 8}),
    ):
        model = new_autoencoder(family, config)
        arguments = model_arguments(model)
        assert config.items() <= arguments.items()
        again = new_autoencoder(family, yaml.safe_load(yaml.safe_dump(arguments)))
        assert model_arguments(again) == arguments
        assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


def test_a_new_model_takes_only_what_its_class_takes():
    model = new_autoencoder(
        "WaveformVAE", {"encoder_hidden_size": 4, "downsampling_ratios": (2,), "channel_multiples": (1,)}
    )
    assert model.hop_length == 2
    with pytest.raises(ValueError, match="has no argument hop_length; use encoder_hidden_size"):
        new_autoencoder("WaveformVAE", {"hop_length": 4})
    with pytest.raises(ValueError, match="has no argument hop_length; use audio_channels"):
        new_autoencoder("WaveformVQVAE", {"hop_length": 4})
    with pytest.raises(
        ValueError,
        match=r"'Vae' is unknown; use one of .*'HierarchicalVQVAE', .*'WaveformVAE', 'WaveformVQVAE'",
    ):
        new_autoencoder("Vae", {})


def test_a_new_model_that_does_not_fit_into_the_memory_is_refused_before_it_is_made():
    large = {"encoder_hidden_size": 2**20, "downsampling_ratios": [2], "channel_multiples": [16]}
    with pytest.raises(ValueError, match=r"has [\d.]+ GiB of weights, this machine"):
        new_autoencoder("WaveformVAE", large)
    with pytest.raises(ValueError, match="too large"):  # the number of weights overflows
        new_autoencoder("WaveformVAE", large | {"downsampling_ratios": [2**24]})
    for family, config, message in (
        ("WaveformVAE", {"audio_channels": 10**9}, "`audio_channels` is 1000000000"),
        ("WaveformVAE", {"downsampling_ratios": [2] * 30, "channel_multiples": [1] * 30}, "the hop length is 2"),
        ("WaveformVQVAE", {"num_codebooks": 10**6}, "`num_codebooks` is 1000000"),
        ("WaveformVQVAE", {"num_codebooks": True}, "num_codebooks"),
        ("WaveformVQVAE", {"quantizer": "finite_scalar", "quantizer_options": {"another": 1}}, "another"),
        ("HierarchicalVQVAE", {"depth": 100, "level_multipliers": (20, 1, 1)}, "`depth` is 2000"),
        ("HierarchicalVQVAE", {"depth": 40, "dilation_cycle": None}, "largest dilation"),
        ("HierarchicalVQVAE", {"strides": (2, 2, 1000), "downsampling_counts": (3, 2, 9)}, "hop length"),
        ("HierarchicalVQVAE", {"unit_expansion": float("nan")}, "width of a residual unit"),
    ):
        with pytest.raises(ValueError, match=message):
            new_autoencoder(family, config)


def test_whole_numbers_are_taken_for_fractions():
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 8, "downsampling_ratios": [2], "hidden_size": 4}
    model = new_autoencoder("WaveformVQVAE", sizes | {"num_codebooks": 2, "quantizer_dropout": 1, "ema_decay": 0})
    assert (model.config.quantizer_dropout, model.config.ema_decay) == (1, 0)
    with pytest.raises(ValueError, match="`restart_share` is 0; it has to be between 0 and 1, or `None`"):
        new_autoencoder("WaveformVQVAE", sizes | {"restart_share": 0})


def test_arguments_of_the_training_alone_can_be_changed() -> None:
    torch.manual_seed(0)
    tiny = {"downsampling_ratios": (2, 2), "encoder_hidden_size": 4, "decoder_hidden_size": 8, "hidden_size": 4}
    codec = new_autoencoder("WaveformVQVAE", tiny | {"quantizer_dropout": 0.5, "num_codebooks": 2}).eval()
    changed = with_training_arguments(codec, {"quantizer_dropout": 0.0}).eval()
    waveform = torch.randn(1, 1, 64)
    assert torch.equal(changed(waveform).sample, codec(waveform).sample)
    assert changed.config.quantizer_dropout == 0.0
    assert codec.config.quantizer_dropout == 0.5
    hierarchy = new_autoencoder("HierarchicalVQVAE", {})
    for model, wrong, message in (
        (codec, {"hidden_size": 8}, "['hidden_size'] of a WaveformVQVAE cannot be changed after its training; only"),
        (codec, {"codebook_learning": "ema"}, "['codebook_learning'] of a WaveformVQVAE change which weights it has"),
        (
            hierarchy,
            {"quantizer_dropout": 0.9},
            "only ['ema_decay', 'kmeans_start', 'restart_share', 'rotation_trick'] can",
        ),
        (new_autoencoder("WaveformVAE", {}), {"latents_mean": (0.0,) * 64}, "none of its arguments can"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            with_training_arguments(model, wrong)


@pytest.mark.parametrize("family", FAMILIES)
def test_whole_numbers_are_accepted_where_a_number_is_due(family: str) -> None:
    defaults = FAMILIES[family].argument_defaults()
    whole = {name: int(value) for name, value in defaults.items() if isinstance(value, float) and value == int(value)}
    new_autoencoder(family, whole)
