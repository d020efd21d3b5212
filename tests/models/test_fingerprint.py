from pathlib import Path

import pytest
import torch
from torch import nn

from hf_audio_vae.files.fingerprints import fingerprint_differences
from hf_audio_vae.models import AutoencoderModel, WaveformVAE, load_autoencoder, new_autoencoder
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.fingerprint import latents_fingerprint, model_fingerprint, weights_fingerprint
from hf_audio_vae.models.registry import FAMILIES


def model_of(**weights: torch.Tensor) -> nn.ParameterDict:
    return nn.ParameterDict({name: nn.Parameter(weight, requires_grad=False) for name, weight in weights.items()})


def test_equal_models_have_equal_fingerprints_wherever_their_weights_lie() -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    model, same = model_of(a=weight, b=weight + 1), model_of(b=weight + 1, a=weight.T.contiguous().T)
    assert weights_fingerprint(model) == weights_fingerprint(same)


@pytest.mark.parametrize(
    "other",
    [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32)},
        {"a": torch.tensor([[0.0, 0, 0], [0, 0, 1e-45]])},
        {"a": torch.zeros(2, 3), "b": torch.zeros(0)},
    ],
    ids=["name", "shape", "type", "value", "more"],
)
def test_another_name_shape_type_or_value_is_another_model(other: dict[str, torch.Tensor]) -> None:
    assert weights_fingerprint(model_of(a=torch.zeros(2, 3))) != weights_fingerprint(model_of(**other))


CODEC = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": (2, 4), "hidden_size": 8}
CODEC |= {"num_codebooks": 2, "codebook_size": 8, "codebook_dim": 2}


def model_with(family: str, **changes: object) -> AutoencoderModel:
    settings = {
        "WaveformVAE": {"encoder_hidden_size": 4, "downsampling_ratios": (2, 4), "channel_multiples": (1, 1)},
        "STFTVAE": {"downsampling_ratios": (4, 2), "hidden_sizes": (4, 4), "num_blocks": (1, 1), "window_length": 8},
        "SpectrogramVAE": {"downsampling_ratios": (4, 2), "bin_ratios": (1, 1), "block_out_channels": (4, 4)},
        "WaveformVQVAE": CODEC,
        "HierarchicalVQVAE": {"width": 8, "depth": 1, "hidden_size": 4, "codebook_size": 16},
        "WaveVAE": {"downsampling_ratios": (2, 4), "hidden_size": 8, "residual_channels": 8, "layers_per_stack": 2},
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return new_autoencoder(family, settings[family] | changes)


@pytest.mark.parametrize(
    ("family", "changes", "differing"),
    [
        ("WaveformVAE", {"causal": True}, ["configuration values"]),
        ("WaveformVAE", {"sampling_rate": 8000}, ["configuration values"]),
        ("WaveformVAE", {"latents_mean": (1.0,) * 64, "latents_std": (1.0,) * 64}, []),
        ("WaveformVQVAE", {"causal": True}, ["configuration values"]),
        ("WaveformVQVAE", {"pad_mode": "reflect"}, ["configuration values"]),
        ("WaveformVQVAE", {"residual_dilations": (1, 2, 3)}, ["configuration values"]),
        ("WaveformVQVAE", {"restart_share": None, "quantizer_dropout": 0.0, "ema_decay": 0.5}, []),
        ("HierarchicalVQVAE", {"dilation_growth": 2}, ["configuration values"]),
        ("WaveVAE", {"past_dropout": 0.5}, []),
        ("HierarchicalVQVAE", {"restart_share": None, "rotation_trick": True}, []),
    ],
)
def test_values_that_define_the_function_are_part_of_the_fingerprint(
    family: str, changes: dict[str, object], differing: list[str]
) -> None:
    before, after = model_with(family), model_with(family, **changes)
    after.load_state_dict(before.state_dict())
    assert fingerprint_differences(model_fingerprint(before), model_fingerprint(after)) == differing


def test_the_order_of_the_levels_is_part_of_the_fingerprint() -> None:
    shapes = {"num_codebooks": 1, "codebook_size": 15}
    before, after = (model_with("WaveformVQVAE", fsq_levels=levels, **shapes) for levels in ((3, 5), (5, 3)))
    assert model_fingerprint(before) != model_fingerprint(after)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_keeps_its_fingerprint(family: str, tmp_path: Path) -> None:
    model = model_with(family)
    model.save_pretrained(tmp_path)
    assert model_fingerprint(load_autoencoder(tmp_path)) == model_fingerprint(model)


def test_a_new_argument_with_a_default_keeps_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with("WaveformVAE")
    before = model_fingerprint(model)
    defaults = WaveformVAE.argument_defaults()
    monkeypatch.setattr(WaveformVAE, "argument_defaults", classmethod(lambda cls: defaults | {"new": 1}))
    model.register_to_config(new=1)
    assert model_fingerprint(model) == before


def test_code_of_an_earlier_version_gives_a_fingerprint_of_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(AudioAutoencoderMixin, "function_config")
    model = model_with("WaveformVAE")
    assert model_fingerprint(model) == weights_fingerprint(model)


def test_statistics_are_compared_in_float32_and_a_fingerprint_without_them_fits_any() -> None:
    def fingerprint(std: float) -> str:
        model.register_to_config(latents_mean=(0.25, -0.5), latents_std=(1.0, std))
        return latents_fingerprint(model)

    model = WaveformVAE(4, (2,), (1,), 4, 2, 1, 8000)
    first = fingerprint(0.7474548911321911)
    assert fingerprint(0.747454891132191) == first
    assert fingerprint_differences(first, fingerprint(0.74746)) == ["latent statistics"]
    assert fingerprint_differences(model_fingerprint(model), first) == []
