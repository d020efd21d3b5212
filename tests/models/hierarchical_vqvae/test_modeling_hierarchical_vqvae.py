import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from tests.models.codec_contract import CodecContract
from tests.models.contract import assert_equal_within_rounding, seeded
from tests.models.hierarchical_vqvae.tiny import (
    CONFIG,
    codes_of,
    model_of,
    waveform,
)


class TestHierarchicalVQVAE(CodecContract):
    model_class = HierarchicalVQVAE
    config_class = HierarchicalVQVAEConfig
    config = CONFIG

    def tiny_model(self, dtype: torch.dtype = torch.float32, **changes: Any) -> HierarchicalVQVAE:
        return model_of(dtype, **{**self.config, **changes})


class TestJointHierarchicalVQVAE(TestHierarchicalVQVAE):
    config = {**CONFIG, "shared_encoder": True, "joint_decoding": True}


# Words and lengths


def test_the_rates_of_the_levels_follow_from_each_other():
    model = model_of()
    assert model.hop_lengths == (4, 12, 24)
    assert (model.hop_length, model.num_levels, model.sampling_rate) == (24, 3, 8000)
    assert model.frame_rates == (2000, 8000 / 12, 8000 / 24)
    assert model.frame_rate == 8000 / 24
    assert model.codebook_sizes == (16, 16, 16)
    assert model.bits_per_second == 2000 * 4
    assert math.isclose(model_of(joint_decoding=True).bits_per_second, sum(model.frame_rates) * 4)


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_alone_decodes_any_number_of_its_frames(level):
    model = model_of()
    for frames in (1, 5):
        codes = torch.randint(16, (2, 1, frames), generator=seeded())
        assert model.decode(codes, level=level).audio_values.shape == (2, 2, frames * model.hop_lengths[level])


@torch.no_grad()
def test_every_level_is_decoded_alone(variant):
    model = model_of(**variant)
    x = waveform(5 * model.hop_length, batch=2)
    codes, output = model.encode(x).audio_codes, model(x)
    assert torch.equal(output.audio_values, model.decode(codes).audio_values)
    assert torch.equal(output.sample, output.audio_values)
    for level, values in enumerate(output.level_values):
        assert torch.equal(values, model.decode(codes, level=level).audio_values)
        assert torch.equal(values, model.decode(codes[level], level=level).audio_values)
    assert torch.equal(output.audio_values, output.level_values[0]) != model.config.joint_decoding


@torch.no_grad()
def test_a_shared_encoder_feeds_every_level_from_one_pass():
    model = model_of(torch.float64, shared_encoder=True)
    x = waveform(4 * model.hop_length, dtype=torch.float64)
    z = x
    for block, quantizer, codes in zip(
        model.encoders[0].blocks, model.quantizers, model.encode(x).audio_codes, strict=True
    ):
        z = block(z)
        assert torch.equal(quantizer.encode(z), codes)


# Losses and learning


def test_the_commitment_is_the_sum_of_the_levels_mean_squared_distances():
    model = model_of(torch.float64)
    x = waveform(24 * 8, batch=2, dtype=torch.float64)
    latents = [encoder(x)[0] for encoder in model.encoders]
    expected = sum(
        (z - quantizer.decode(quantizer.encode(z))).square().mean()
        for z, quantizer in zip(latents, model.quantizers, strict=True)
    )
    losses = model(x).losses
    assert losses.keys() == {"commitment"}
    assert_equal_within_rounding(losses["commitment"], expected)


@torch.no_grad()
def test_codebooks_learn_as_running_means():
    model = model_of(torch.float64)
    x = waveform(24 * 40, batch=2, dtype=torch.float64)
    before = copy.deepcopy(model)
    codes = model.train()(x).audio_codes
    for place, encoder in enumerate(before.encoders):
        rows = encoder(x)[0].transpose(1, 2).flatten(0, 1)
        chosen = nn.functional.one_hot(codes[place].flatten(), 16).to(rows.dtype)
        old, new = before.quantizers[place].codebook, model.quantizers[place].codebook
        k_sum, k_elem = 0.9 * old.sums + 0.1 * chosen.T @ rows, 0.9 * old.counts + 0.1 * chosen.sum(0)
        assert_equal_within_rounding(new.vectors, k_sum / k_elem[:, None])
        assert not torch.equal(new.vectors, old.vectors)


# Disk, dtypes, copies, compilers


def test_codebooks_and_convolutions_start_random():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = HierarchicalVQVAE(HierarchicalVQVAEConfig(**CONFIG))
    codebook = model.quantizers[0].codebook
    assert codebook.updates == 0
    assert torch.equal(codebook.sums, codebook.vectors)
    assert 0.5 < codebook.vectors.std() < 1.5
    weight = model.encoders[0].blocks[0].stages[0].conv.weight  # uniform within 1 / sqrt(inputs)
    assert 0.9 < weight.abs().max() * math.sqrt(2 * 4) <= 1


# Wrong inputs


def test_wrong_codes_are_refused_with_their_value_and_a_remedy():
    model = model_of(joint_decoding=True)
    fine, middle, coarse = codes = codes_of(model, 4, batch=2)
    masks = model.encode(waveform(24 * 4, batch=2), torch.ones(2, 24 * 4)).audio_codes_mask
    for arguments, options, message in (
        ((codes[:2],), {}, "2 levels, the model has 3"),
        ((fine,), {}, "one tensor.*pass its `level`"),
        ((codes,), {"level": 3}, "`level` is 3.*0, the finest, to 2"),
        ((codes,), {"level": -1}, "`level` is -1"),
        (((fine[..., :-1], middle, coarse),), {}, r"level 0 has shape \(2, 1, 23\), expected \(2, 1, 24\)"),
        (((fine[:1], middle, coarse),), {}, r"level 0 has shape \(1, 1, 24\)"),
        ((coarse[:, 0],), {"level": 2}, "expected"),
        ((coarse.float(),), {"level": 2}, "torch.float32"),
        ((coarse + 16,), {"level": 2}, "the codes 0 to 15"),
        ((codes, (masks[0], masks[1], masks[2] & (torch.arange(4) < 3))), {}, "pass the masks that `encode` returned"),
        ((codes, masks[:2]), {}, "`audio_codes_mask` holds 2 levels"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode(*arguments, **options)
