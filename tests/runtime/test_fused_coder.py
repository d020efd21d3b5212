"""The inference form of the models: equal results, constant memory, and never used where it would be wrong."""

import copy
import pickle

import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from hf_audio_vae import (
    HierarchicalVQVAE,
    HierarchicalVQVAEConfig,
    WaveformVAE,
    WaveformVQVAE,
    WaveformVQVAEConfig,
)
from hf_audio_vae.modules.activations import Snake
from hf_audio_vae.runtime.fused_coder import FusedCoder
from hf_audio_vae.runtime.native import native_kernels
from tests.memory import working_bytes

compiled = pytest.mark.skipif(native_kernels(torch.float32) is None, reason="nothing compiles the kernels here")


def vae(**changes: object) -> WaveformVAE:
    torch.manual_seed(0)
    arguments = {"audio_channels": 1, "sampling_rate": 16000, **changes}
    return lively(WaveformVAE(8, (2, 5), (1, 2), 8, 4, **arguments).eval())


def codec(**changes: object) -> WaveformVQVAE:
    torch.manual_seed(0)
    sizes = {"encoder_hidden_size": 4, "decoder_hidden_size": 16, "downsampling_ratios": (2, 5), "hidden_size": 16}
    return lively(WaveformVQVAE(WaveformVQVAEConfig(**sizes, num_codebooks=3, codebook_size=64, **changes)).eval())


@torch.no_grad()
def lively(model):
    """Give every Snake parameters of its own."""
    for module in model.modules():
        if isinstance(module, Snake):
            for parameter in module.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    return model


def kernels(model: WaveformVAE | WaveformVQVAE) -> list[bool]:
    """Return whether encoder and decoder run on compiled kernels."""
    return [model.coder.networks[network].kernels is not None for network in model.networks]


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def assert_equal_but_for_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@compiled
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("time", [1, 9, 10, 2345])
@torch.no_grad()
def test_a_fused_vae_gives_the_same_numbers(causal, time):
    model = vae(causal=causal)
    x = noise(3, 1, time)
    posterior, reconstruction = model.encode(x).latent_dist, model(x).sample
    model.fuse()
    assert kernels(model) == [True, True]
    assert_equal_but_for_rounding(model.encode(x).latent_dist.mean, posterior.mean)
    assert_equal_but_for_rounding(model.encode(x).latent_dist.std, posterior.std)
    assert_equal_but_for_rounding(model(x).sample, reconstruction)
    model.enable_slicing()
    model.enable_tiling(3)
    assert_equal_but_for_rounding(model(x).sample, reconstruction)


@compiled
@torch.no_grad()
def test_a_fused_codec_gives_the_same_codes_and_numbers():
    model = codec()
    x = noise(2, 1, 2345)
    mask = torch.ones(2, 2345, dtype=torch.bool)
    mask[1, 1000:] = False
    codes = model.encode(x, mask).audio_codes
    audio = model.decode(codes).audio_values
    model.fuse()
    assert kernels(model) == [True, True]
    assert (model.encode(x, mask).audio_codes == codes).double().mean() > 0.99  # rounding decides between equals
    assert_equal_but_for_rounding(model.decode(codes).audio_values, audio)
    model.enable_tiling(3)
    assert_equal_but_for_rounding(model.decode(codes).audio_values, audio)


@pytest.mark.parametrize(
    "changes", [{"activation": "elu"}, {"num_lstm_layers": 1}, {"pad_mode": "reflect"}, {"norm": "time_group_norm"}]
)
@torch.no_grad()
def test_what_has_no_kernel_keeps_its_layers_with_folded_weights(changes):
    model = codec(**changes)
    codes = model.encode(noise(1, 1, 1234)).audio_codes
    audio = model.decode(codes).audio_values
    model.fuse()
    assert (model.decoder in model.coder.networks) == (model.config.norm == "weight_norm")
    if form := model.coder.networks.get(model.decoder):
        assert type(form.folded) is type(model.decoder)
        assert not any(name.endswith("weight_g") for name, _ in form.folded.named_parameters())
    assert_equal_but_for_rounding(model.decode(codes).audio_values, audio)


@pytest.mark.parametrize("joint", [False, True])
@torch.no_grad()
def test_levels_without_weight_norm_give_the_same_when_fused(joint):
    torch.manual_seed(0)
    config = HierarchicalVQVAEConfig(
        hidden_size=4, width=4, depth=1, codebook_size=16, joint_decoding=joint, shared_encoder=joint
    )
    model = HierarchicalVQVAE(config).eval()
    x = noise(2, 1, 1000)
    expected = model(x)
    model.fuse()
    model.enable_tiling(3)
    actual = model(x)
    for ours, theirs in zip(actual.audio_codes, expected.audio_codes, strict=True):
        assert (ours == theirs).double().mean() > 0.99
    assert_equal_but_for_rounding(model.decode(expected.audio_codes).audio_values[..., :1000], expected.audio_values)


@pytest.fixture
def no_compiler(monkeypatch):
    native_kernels.cache_clear()
    with monkeypatch.context() as patched:
        patched.setenv("CC", "false")
        yield
    native_kernels.cache_clear()


@torch.no_grad()
def test_without_a_compiler_weights_are_folded(no_compiler):
    model = vae()
    z = noise(1, 4, 200)
    whole = model.decode(z).sample
    model.fuse()
    assert kernels(model) == [False, False]
    assert_equal_but_for_rounding(model.decode(z).sample, whole)
    model.enable_tiling(20)
    assert_equal_but_for_rounding(model.decode(z).sample, whole)


@compiled
@torch.no_grad()
def test_memory_of_a_fused_model_does_not_grow_with_the_signal(monkeypatch):
    monkeypatch.setattr("hf_audio_vae.runtime.fused.stack.CHUNK_BYTES", 2**17)
    model = vae()
    model.fuse()
    short, long = (working_bytes(lambda z: model.decode(z).sample, noise(1, 4, frames)) for frames in (1000, 10000))
    assert long < 1.01 * short
    (short, _), (long, checked) = (
        (working_bytes(lambda x: model.encode(x).latent_dist.mean, x), working_bytes(torch.isfinite, x))
        for x in (noise(1, 1, 10001), noise(1, 1, 100001))  # no whole frames
    )
    assert long < 1.01 * short + checked


@compiled
@pytest.mark.parametrize("time", [3333, *range(3000, 3060, 7)])
@torch.no_grad()
def test_a_long_signal_is_read_lazily_in_the_fused_form(time):
    model = vae()
    x = noise(2, 1, time)
    expected = model.encode(x).latent_dist.mean
    model.fuse()
    model.enable_tiling(50)
    means = [posterior.mean for posterior in model.encode_chunks(lambda start, stop: x[..., start:stop], time)]
    assert max(mean.shape[-1] for mean in means) <= 50
    assert_equal_but_for_rounding(torch.cat(means, dim=-1), expected)


@compiled
@torch.no_grad()
def test_bfloat16_is_near():
    if native_kernels(torch.bfloat16) is None:
        pytest.skip("this processor has no products of bfloat16")
    model = vae()
    z = noise(1, 4, 200)
    expected = model.decode(z).sample
    model.to(torch.bfloat16)
    model.fuse()
    assert kernels(model) == [True, True]
    actual = model.decode(z.bfloat16()).sample
    assert actual.dtype == torch.bfloat16
    assert (actual - expected).norm() < 0.02 * expected.norm()


def test_gradients_go_through_the_layers():
    model = vae()
    x = noise(1, 1, 200)
    expected = torch.autograd.grad(model.train()(x).sample.square().sum(), list(model.parameters()), allow_unused=True)
    model.fuse()
    actual = torch.autograd.grad(model(x).sample.square().sum(), list(model.parameters()), allow_unused=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    assert model.eval().decode(noise(1, 4, 20)).sample.requires_grad


@pytest.mark.parametrize("change", ["step", "average", "load", "assign", "move"])
@torch.no_grad()
def test_weights_that_changed_are_not_used(change):
    model = vae()
    model.fuse()
    if change == "step":
        next(model.parameters()).mul_(2)
    elif change == "average":
        EMAModel([2 * p for p in model.parameters()]).copy_to(model.parameters())  # writes to `.data`
    elif change in ("load", "assign"):
        model.load_state_dict(vae(causal=True).state_dict(), assign=change == "assign")
    else:
        model.to(torch.bfloat16)
    with pytest.raises(ValueError, match="call `fuse\\(\\)` again"):
        model(noise(1, 1, 200).to(model.dtype))
    model.unfuse()
    model(noise(1, 1, 200).to(model.dtype))


def test_a_fused_model_is_saved_unfused(tmp_path):
    model = vae()
    model.fuse()
    model.save_pretrained(tmp_path)
    again = WaveformVAE.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("make", [vae, codec])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@torch.no_grad()
def test_copies_of_a_fused_model_are_not_fused(make, duplicate):
    model = make()
    model.fuse()
    copied = duplicate(model)
    assert not isinstance(copied.coder, FusedCoder)
    assert isinstance(model.coder, FusedCoder)
    x, plain = noise(1, 1, 100), make()
    for actual, expected in zip(copied(x).to_tuple(), plain(x).to_tuple(), strict=True):
        if isinstance(actual, Tensor):
            assert torch.equal(actual, expected)


@torch.no_grad()
def test_a_fused_model_compiles_and_takes_other_dtypes_as_its_layers_do():
    model = vae()
    z = noise(1, 4, 20)
    model.fuse()
    decode = torch.compile(lambda z: model.decode(z).sample, backend="eager", fullgraph=True)
    assert_equal_but_for_rounding(decode(z), model.decode(z).sample)
    assert torch.equal(model.decode(z.double()).sample, model.decode(z).sample)


@pytest.mark.parametrize("make", [vae, lambda: codec(num_lstm_layers=1)])
@torch.no_grad()
def test_networks_wrapped_by_a_compiler_are_coded_as_their_layers(make):
    model = make()
    x = noise(1, 1, 3001)
    encoded = model.encode(x)
    codes = encoded.latent_dist.mean if isinstance(model, WaveformVAE) else encoded.audio_codes
    (expected,) = model.decode(codes, return_dict=False)
    model.encoder, model.decoder = (torch.compile(part, backend="eager") for part in (model.encoder, model.decoder))
    model.enable_tiling(16)
    assert_equal_but_for_rounding(model.decode(codes, return_dict=False)[0], expected)
    streamed = model.streaming().decoder
    assert_equal_but_for_rounding(torch.cat([streamed.push(codes), streamed.flush()], dim=-1), expected)
    model.fuse()
    assert_equal_but_for_rounding(model.decode(codes, return_dict=False)[0], expected)
    assert not isinstance(model, WaveformVAE) or native_kernels(torch.float32) is None or all(kernels(model))
