import copy
import math
import re

import pytest
import torch
from torch import nn

from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from tests.models.contract import assert_equal_within_rounding, seeded
from tests.models.hierarchical_vqvae.tiny import (
    CONFIG,
    Decode,
    Encode,
    codes_of,
    equal,
    loss,
    model_of,
    waveform,
)
from tests.models.probes import with_and_without_checkpointing

# Words and lengths


def test_numbers_of_the_codes_follow_from_each_other():
    model = model_of()
    assert model.hop_lengths == (4, 12, 24)
    assert (model.hop_length, model.num_levels, model.sampling_rate) == (24, 3, 8000)
    assert model.frame_rates == (2000, 8000 / 12, 8000 / 24)
    assert model.frame_rate == 8000 / 24
    assert model.codebook_sizes == (16, 16, 16)
    assert model.bits_per_second == 2000 * 4
    assert math.isclose(model_of(joint_decoding=True).bits_per_second, sum(model.frame_rates) * 4)


@torch.no_grad()
def test_lengths_for_every_time(variant):
    model = model_of(**variant)
    for time in range(1, 2 * model.hop_length + 2):
        x = waveform(time, batch=2)
        output, codes = model(x), model.encode(x).audio_codes
        frames = -(-time // 24)
        assert [level.shape for level in codes] == [(2, 1, 6 * frames), (2, 1, 2 * frames), (2, 1, frames)]
        assert equal(output.audio_codes, codes)
        assert output.audio_values.shape == x.shape
        assert all(values.shape == x.shape for values in output.level_values)
        assert model.decode(codes).audio_values.shape[-1] == 24 * frames


@torch.no_grad()
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_alone_decodes_any_number_of_its_frames(level):
    model = model_of()
    for frames in (1, 5):
        codes = torch.randint(16, (2, 1, frames), generator=seeded())
        assert model.decode(codes, level=level).audio_values.shape == (2, 2, frames * model.hop_lengths[level])


@torch.no_grad()
def test_codes_stored_in_smaller_integers_decode_to_the_same_sound(variant):
    model = model_of(**variant)
    codes = codes_of(model, 5, batch=2)
    for dtype in (torch.uint8, torch.uint16, torch.int16, torch.int32):
        stored = tuple(level.to(dtype) for level in codes)
        assert torch.equal(model.decode(stored).audio_values, model.decode(codes).audio_values)


@torch.no_grad()
def test_encode_pads_with_zeros_on_the_right(variant):
    model = model_of(**variant)
    x = waveform(2 * model.hop_length)
    x[..., -5:] = 0
    assert equal(model.encode(x[..., :-5]).audio_codes, model.encode(x).audio_codes)


@torch.no_grad()
def test_forward_is_encode_then_decode(variant):
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
def test_return_dict_false_gives_the_same_in_a_tuple():
    model = model_of()
    x = waveform(3 * model.hop_length)
    (codes,) = model.encode(x, return_dict=False)
    assert equal(codes, model.encode(x).audio_codes)
    (audio,) = model.decode(codes, return_dict=False)
    assert torch.equal(audio, model(x).audio_values)
    assert torch.equal(model(x, return_dict=False)[0], audio)


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


def test_gradient_reaches_every_parameter(variant):
    model = model_of(**variant).train()
    loss(model, waveform(24 * 20, batch=2)).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_frozen_encoder_leaves_the_codes_as_they_are():
    model = model_of()
    model.freeze_encoder()
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith("decoders")}
    loss(model, waveform(24 * 20)).backward()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert all((p.grad is not None) == name.startswith("decoders") for name, p in model.named_parameters())
    assert model.decoders.training


def test_gradient_checkpointing_stores_less_and_changes_no_gradient():
    x = waveform(24 * 40, dtype=torch.float64)
    plain, less = with_and_without_checkpointing(lambda: model_of(torch.float64), lambda model: loss(model, x))
    assert less.stored < plain.stored / 2
    for name, gradient in plain.gradients.items():
        assert_equal_within_rounding(less.gradients[name], gradient)


# Disk, dtypes, copies, compilers


@torch.no_grad()
@pytest.mark.parametrize("max_shard_size", ["5GB", "4KB"])
def test_loading_gives_back_what_was_saved(variant, max_shard_size, tmp_path):
    model = model_of(**variant)
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_size == "4KB")
    for options in ({}, {"device_map": "cpu"}, {"device_map": "auto"}):
        loaded = HierarchicalVQVAE.from_pretrained(tmp_path, **options)
        assert not loaded.training
        assert {name: getattr(loaded.config, name) for name in CONFIG} == {**CONFIG, **variant}
        state = model.state_dict()
        assert state.keys() == loaded.state_dict().keys()
        assert all(torch.equal(state[name], value) for name, value in loaded.state_dict().items())
    x = waveform(24 * 3)
    assert torch.equal(loaded(x).audio_values, model(x).audio_values)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_loads_and_stays_near(dtype, tmp_path):
    model = model_of()
    model.save_pretrained(tmp_path)
    loaded = HierarchicalVQVAE.from_pretrained(tmp_path, dtype=dtype)
    codes = codes_of(model, 10)
    for level in range(3):
        decoded, expected = (one.decode(codes, level=level).audio_values for one in (loaded, model))
        assert decoded.dtype == dtype
        # a level has up to thirty layers that round once or twice
        assert (decoded.float() - expected).abs().max() < 40 * torch.finfo(dtype).eps * expected.abs().max()
    x = waveform(24 * 9).to(dtype)
    assert loaded.encode(x).audio_codes[2].shape == (1, 1, 9)
    assert loaded(x).losses["commitment"].isfinite()


def test_weights_that_a_checkpoint_lacks_start_as_new(tmp_path):
    model = model_of()
    kept = {name: value for name, value in model.state_dict().items() if name.startswith("decoders")}
    model.save_pretrained(tmp_path, state_dict=kept)
    loaded = HierarchicalVQVAE.from_pretrained(tmp_path)
    state = loaded.state_dict()
    assert all(value.isfinite().all() for value in state.values())
    assert all(torch.equal(state[name], value) for name, value in kept.items())
    codebook = loaded.quantizers[0].codebook
    assert codebook.updates == 0
    assert torch.equal(codebook.sums, codebook.vectors)
    assert 0.5 < codebook.vectors.std() < 1.5
    weight = loaded.encoders[0].blocks[0].stages[0].conv.weight  # uniform within 1 / sqrt(inputs)
    assert 0.9 < weight.abs().max() * math.sqrt(2 * 4) <= 1


def test_a_model_can_be_copied_after_a_forward_pass():
    model = model_of().train()
    x = waveform(24 * 3)
    model(x).audio_values.sum().backward()
    model.eval()
    assert torch.equal(copy.deepcopy(model)(x).audio_values, model(x).audio_values)


@torch.no_grad()
def test_encode_and_decode_compile_into_one_graph(variant):
    model = model_of(torch.float64, **variant)
    x, codes = waveform(24 * 9, dtype=torch.float64), codes_of(model, 9)
    encode = torch.compile(Encode(model), backend="aot_eager", fullgraph=True)
    decode = torch.compile(Decode(model), backend="aot_eager", fullgraph=True)
    assert equal(encode(x), Encode(model)(x))
    assert_equal_within_rounding(decode(*codes), Decode(model)(*codes))


@torch.no_grad()
def test_encode_and_decode_export_with_a_dynamic_length():
    model = model_of(torch.float64)
    frames = torch.export.Dim("frames", min=2, max=1000)
    encode = torch.export.export(
        Encode(model), (waveform(24 * 9, dtype=torch.float64),), dynamic_shapes=({2: 24 * frames},)
    ).module()
    for count in (2, 9, 31):
        x = waveform(24 * count, dtype=torch.float64)
        assert equal(encode(x), Encode(model)(x))


@torch.no_grad()
def test_sounds_that_differ_have_codes_that_differ():
    # Else nothing here could see a code that is wrong.
    for level in model_of().encode(waveform(2400)).audio_codes:
        assert level.unique().numel() > 2


@torch.no_grad()
def test_encoding_in_training_mode_teaches_no_codebook():
    model = model_of(restart_share=0.5, kmeans_start=True).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.encode(waveform(24 * 9))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# Wrong inputs


def test_a_wrong_waveform_is_refused_with_its_value_and_a_remedy():
    model = model_of()
    x = waveform(24 * 3, batch=2)
    nan = x.clone()
    nan[0, 0, 1] = torch.nan
    for wrong, message in (
        (x[0], "expected (batch, audio_channels, time)"),
        (x[:, :1], "1 channels"),
        ((x * 100).to(torch.int16), "torch.int16"),
        (x[..., :0], "empty"),
        (nan, "1 values"),
    ):
        for run in (model, model.encode):
            with pytest.raises(ValueError, match=f"`waveform`.*{re.escape(message)}"):
                run(wrong)


def test_another_sampling_rate_is_refused():
    with pytest.raises(ValueError, match="8001 Hz.*8000 Hz; resample"):
        model_of().encode(waveform(24 * 3), sampling_rate=8001)


def test_a_wrong_mask_is_refused():
    model, x = model_of(), waveform(24 * 3, batch=2)
    for mask, message in (
        (torch.ones(2, 24 * 3 + 1), "`padding_mask` has shape"),
        (torch.arange(24 * 3).expand(2, -1) > 2, "padding has to be on the right"),
    ):
        with pytest.raises(ValueError, match=message):
            model.encode(x, mask)


def test_wrong_codes_are_refused_with_their_value_and_a_remedy():
    model = model_of(joint_decoding=True)
    fine, middle, coarse = codes = codes_of(model, 4, batch=2)
    masks = model.encode(waveform(24 * 4, batch=2), torch.ones(2, 24 * 4)).audio_codes_mask
    for arguments, options, message in (
        ((codes[:2],), {}, "2 levels, the model has 3"),
        ((fine,), {}, "one tensor.*say with `level`"),
        ((codes,), {"level": 3}, "`level` is 3.*0, the finest, to 2"),
        ((codes,), {"level": -1}, "`level` is -1"),
        (((fine[..., :-1], middle, coarse),), {}, r"level 0 has shape \(2, 1, 23\).*expected|asks to be \(2, 1, 24\)"),
        (((fine[:1], middle, coarse),), {}, r"level 0 has shape \(1, 1, 24\)"),
        ((coarse[:, 0],), {"level": 2}, "expected"),
        ((coarse.float(),), {"level": 2}, "torch.float32"),
        ((coarse + 16,), {"level": 2}, "the codes 0 to 15"),
        ((codes, (masks[0], masks[1], masks[2] & (torch.arange(4) < 3))), {}, "pass the masks that `encode` returned"),
        ((codes, masks[:2]), {}, "`audio_codes_mask` holds 2 levels"),
    ):
        with pytest.raises(ValueError, match=message):
            model.decode(*arguments, **options)
