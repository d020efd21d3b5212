import pytest
import torch

from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from tests.models.hierarchical_vqvae.tiny import CONFIG, equal, loss, model_of, waveform

# Configuration


@torch.no_grad()
@pytest.mark.parametrize(
    ("key", "value", "beside"),
    [
        ("dilation_growth", 2, {}),
        ("dilation_cycle", 1, {}),
        ("reverse_decoder_dilation", False, {}),
        ("joint_decoding", True, {}),
        ("cosine", True, {}),
        ("sampling_rate", 16000, {}),
        ("strides", (3, 2, 2), {}),
        ("downsampling_counts", (1, 2, 1), {}),
        ("level_multipliers", (1, 2, 1), {}),
        ("shared_encoder", True, {}),
        ("audio_channels", 1, {}),
        ("hidden_size", 6, {}),
        ("width", 6, {}),
        ("depth", 3, {}),
        ("unit_expansion", 1.0, {}),
        ("codebook_size", 8, {}),
        ("ema_decay", 0.5, {}),
        ("restart_share", 0.9, {}),
        ("kmeans_start", True, {"updates": 0}),
        ("rotation_trick", True, {}),
    ],
)
def test_every_key_changes_behaviour(key, value, beside):
    model, other = model_of(), model_of(**{key: value})
    assert model.config.to_dict().keys() >= CONFIG.keys()
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (model, other)]
    if shapes[0] != shapes[1] or (model.frame_rates, model.bits_per_second) != (
        other.frame_rates,
        other.bits_per_second,
    ):
        return
    other.load_state_dict(model.state_dict())
    x, results = waveform(24 * 12), []
    for one in (model, other):
        for quantizer in one.quantizers:
            quantizer.codebook.updates.fill_(beside.get("updates", 1))
        before = one(x)
        with torch.enable_grad():
            loss(one.train(), x).backward()
        gradient = one.encoders[0].blocks[0].stages[0].conv.weight.grad
        results.append((before.audio_values, gradient, *(q.codebook.vectors for q in one.quantizers)))
    assert not equal(*results)


def test_all_keys_are_tried():
    tried = [mark for mark in test_every_key_changes_behaviour.pytestmark if mark.name == "parametrize"]
    assert {key for key, *_ in tried[0].args[1]} == CONFIG.keys() == HierarchicalVQVAEConfig.__annotations__.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strides": (2, 2)}, r"`strides` \(2, 2\).*same levels"),
        ({"strides": (), "downsampling_counts": (), "level_multipliers": ()}, "`downsampling_counts` has 0 numbers"),
        ({"downsampling_counts": (1, 0, 1)}, r"`downsampling_counts` is \(1, 0, 1\)"),
        ({"width": 0}, "`width` is 0"),
        ({"codebook_size": 1}, "`codebook_size` is 1"),
        ({"dilation_cycle": 0}, "`dilation_cycle` is 0"),
        ({"unit_expansion": 0.1}, "no channel"),
        ({"ema_decay": 1.0}, "`ema_decay` is 1.0"),
        ({"ema_decay": -0.1}, "`ema_decay` is -0.1"),
        ({"restart_share": 0.0}, "`restart_share` is 0.0"),
        ({"restart_share": 1.0}, "`restart_share` is 1.0"),
    ],
)
def test_a_wrong_configuration_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalVQVAEConfig(**{**CONFIG, **changes})


def test_a_codebook_without_memory_can_be_asked_for():
    assert HierarchicalVQVAEConfig(**{**CONFIG, "ema_decay": 0.0}).ema_decay == 0
