import copy
import math
import re

import pytest
import torch
from torch import Tensor, nn

from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from tests.dependence import clipped, inputs_read
from tests.memory import working_bytes
from tests.models.contract import assert_equal_within_rounding, seeded

CONFIG = {
    "audio_channels": 2,
    "sampling_rate": 8000,
    "downsampling_counts": (2, 1, 1),
    "strides": (2, 3, 2),
    "hidden_size": 5,
    "width": 4,
    "depth": 2,
    "level_multipliers": (2, 1, 1),
    "unit_expansion": 1.5,
    "dilation_growth": 3,
    "dilation_cycle": None,
    "reverse_decoder_dilation": True,
    "shared_encoder": False,
    "joint_decoding": False,
    "codebook_size": 16,
    "cosine": False,
    "ema_decay": 0.9,
    "restart_share": None,
    "kmeans_start": False,
    "rotation_trick": False,
}
VARIANTS = [{}, {"shared_encoder": True, "joint_decoding": True}]
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")


def model_of(dtype: torch.dtype = torch.float32, **changes: object) -> HierarchicalVQVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = HierarchicalVQVAE(HierarchicalVQVAEConfig(**{**CONFIG, **changes}))
    generator = seeded()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    with torch.no_grad():
        sound = 0.3 * torch.randn(1, model.config.audio_channels, 64 * model.hop_length, generator=generator)
        levels = model._encode(sound, None, quantize=False)
    for quantizer, latents in zip(model.quantizers, levels, strict=True):
        # Amid the latents: random vectors elsewhere would all of them be nearest to the same code.
        codebook = quantizer.codebook
        codebook.vectors.copy_(latents[0].T[torch.linspace(0, latents.shape[2] - 1, codebook.size).long()])
        codebook.sums.copy_(codebook.vectors)
        codebook.updates.fill_(1)
    return model.to(dtype).eval()


def waveform(time: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return 0.3 * torch.randn(batch, CONFIG["audio_channels"], time, generator=seeded(), dtype=dtype)


def codes_of(model: HierarchicalVQVAE, frames: int, batch: int = 1) -> tuple[Tensor, ...]:
    sizes = [frames * model.hop_length // hop for hop in model.hop_lengths]
    return tuple(torch.randint(16, (batch, 1, size), generator=seeded()) for size in sizes)


def equal(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


class Encode(nn.Module):
    def __init__(self, model: HierarchicalVQVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.model.encode(x).audio_codes


class Decode(Encode):
    def forward(self, *codes: Tensor) -> Tensor:
        return self.model.decode(codes).audio_values


@pytest.fixture(params=VARIANTS, ids=["separate", "shared-joint"])
def variant(request) -> dict:
    return request.param


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


# Chunks


@torch.no_grad()
@pytest.mark.parametrize("tile_frames", [1, 7, None])
def test_chunked_coding_matches_whole(variant, tile_frames):
    model = model_of(torch.float64, **variant)
    hop = model.hop_length
    for time in (1, 2 * hop + 1, 30 * hop - 1, 45 * hop):
        x = waveform(time, batch=2, dtype=torch.float64)
        model.disable_tiling()
        whole = model(x)
        levels = [model.decode(whole.audio_codes, level=level).audio_values for level in range(3)]
        model.enable_tiling(tile_frames)
        chunked = model(x)
        assert equal(model.encode(x).audio_codes, whole.audio_codes)
        assert_equal_within_rounding(chunked.audio_values, whole.audio_values)
        assert_equal_within_rounding(model.decode(whole.audio_codes).audio_values[..., :time], whole.audio_values)
        for level, expected in enumerate(levels):
            assert_equal_within_rounding(model.decode(whole.audio_codes, level=level).audio_values, expected)


@torch.no_grad()
def test_default_chunks_are_exact_beyond_one_chunk(variant):
    model = model_of(torch.float64, **variant)
    x = waveform(int(1.5 * model.default_tile_frames * model.hop_length) + 1, dtype=torch.float64)
    whole = model(x)
    model.enable_tiling()
    assert equal(model.encode(x).audio_codes, whole.audio_codes)
    assert_equal_within_rounding(model.decode(whole.audio_codes).audio_values[..., : x.shape[-1]], whole.sample)


def test_the_memory_of_coding_in_chunks_does_not_grow(variant):
    model = model_of(**variant)
    model.enable_tiling(8)
    short, long = (working_bytes(Encode(model), waveform(frames * 24)) for frames in (150, 600))
    assert long <= short
    codes = [codes_of(model, frames) for frames in (150, 600)]
    short, long = (
        working_bytes(lambda x, n=n: Decode(model)(*x.split([6 * n, 2 * n, n], dim=-1)), torch.cat(levels, dim=-1))
        for n, levels in zip((150, 600), codes, strict=True)
    )
    assert long <= short


def test_input_spans_hold_all_that_is_read(variant):
    model = model_of(torch.float64, **variant)
    for parameter in model.parameters():
        parameter.data.abs_()  # where ReLU is 0 nothing is read
    x = waveform(60 * 24, dtype=torch.float64).abs()
    for encoder, frames in zip(
        model.encoders, (30 * 6, 30 * 2, 30) if len(model.encoders) > 1 else (30,), strict=True
    ):
        span = encoder.input_span(frames, frames + 2)
        assert inputs_read(lambda x, encoder=encoder: encoder(x)[-1], x, frames, frames + 2) == clipped(span, 60 * 24)
    for decoder, hop in zip(model.decoders, model.hop_lengths, strict=True):
        z = torch.rand(1, 5, 80, generator=seeded(), dtype=torch.float64)
        span = decoder.input_span(40 * hop + 1, 41 * hop)
        assert inputs_read(lambda z, decoder=decoder: decoder([z]), z, 40 * hop + 1, 41 * hop) == clipped(span, 80)


def test_a_chunk_of_no_frames_is_refused():
    with pytest.raises(ValueError, match=r"`tile_frames` is 0.*at least 1"):
        model_of().enable_tiling(0)


# Batches


@torch.no_grad()
@pytest.mark.parametrize("tiled", [False, True])
def test_an_item_in_a_padded_batch_is_what_it_is_alone(variant, tiled):
    model = model_of(torch.float64, **variant)
    if tiled:
        model.enable_tiling(3)
    times = (24 * 9, 24 * 4 - 5, 24 * 9 - 1, 1)
    x = waveform(24 * 9, batch=4, dtype=torch.float64)
    mask = torch.arange(24 * 9) < torch.tensor(times)[:, None]
    x[1, :, times[1] :] = torch.nan  # padding may hold anything
    encoded, output = model.encode(x, mask), model(x, mask)
    decoded = model.decode(encoded.audio_codes, encoded.audio_codes_mask).audio_values
    for item, time in enumerate(times):
        alone = model.encode(x[item : item + 1, :, :time])
        sound = model.decode(alone.audio_codes).audio_values
        for codes, valid, expected in zip(
            encoded.audio_codes, encoded.audio_codes_mask, alone.audio_codes, strict=True
        ):
            frames = expected.shape[-1]
            assert valid[item].sum() == frames
            assert torch.equal(codes[item : item + 1, :, :frames], expected)
            assert not codes[item, :, frames:].any()
        assert equal(output.audio_codes_mask, encoded.audio_codes_mask)
        assert equal(output.audio_codes, encoded.audio_codes)
        assert_equal_within_rounding(decoded[item : item + 1, :, : sound.shape[-1]], sound)
        assert not decoded[item, :, sound.shape[-1] :].any()
        assert_equal_within_rounding(output.audio_values[item, :, :time], decoded[item, :, :time])
        assert not output.audio_values[item, :, time:].any()
        for level in range(3):
            part = model.decode(encoded.audio_codes[level], encoded.audio_codes_mask[level], level=level).audio_values
            assert_equal_within_rounding(output.level_values[level][item, :, :time], part[item, :, :time])


def test_padding_is_in_no_loss():
    x = waveform(24 * 8, dtype=torch.float64)
    padded = torch.cat([x, torch.ones_like(x)], dim=-1)
    mask = torch.arange(24 * 16)[None] < 24 * 8
    alone, batch = model_of(torch.float64).train(), model_of(torch.float64).train()
    losses, expected = batch(padded, mask).losses, alone(x).losses
    assert_equal_within_rounding(losses["commitment"], expected["commitment"])
    for ours, theirs in zip(batch.quantizers, alone.quantizers, strict=True):
        assert_equal_within_rounding(ours.codebook.vectors, theirs.codebook.vectors)


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


def loss(model: HierarchicalVQVAE, x: Tensor) -> Tensor:
    output = model(x)
    values = (output.audio_values, *output.level_values)
    return sum((value - x).square().mean() for value in values) + output.losses["commitment"]


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
    gradients, stored = [], []
    for checkpointing in (False, True):
        model = model_of(torch.float64).train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        saved: list[int] = []

        def count(tensor: Tensor, saved: list[int] = saved) -> Tensor:
            saved.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            value = loss(model, waveform(24 * 40, dtype=torch.float64))
        value.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
        stored.append(sum(saved))
    assert stored[1] < stored[0] / 2
    for name, gradient in gradients[0].items():
        assert_equal_within_rounding(gradients[1][name], gradient)


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
        ({"strides": (), "downsampling_counts": (), "level_multipliers": ()}, "at least one level"),
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
