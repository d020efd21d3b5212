"""Chunks of every family: no longer than they have to be, or of one shape, of which a compiler makes one graph."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig, WaveformVAE, WaveformVQVAE, WaveformVQVAEConfig
from tests.models.probes import assert_equal_within_rounding, seeded

FRAMES = (64, 65, 71, 72, 103)  # several windows of each model below
CODEC: dict[str, Any] = {
    "encoder_hidden_size": 4,
    "decoder_hidden_size": 16,
    "downsampling_ratios": (3, 2),
    "hidden_size": 16,
    "residual_dilations": (1,),
    "num_codebooks": 2,
    "codebook_size": 8,
    "codebook_dim": 4,
}
HIERARCHY: dict[str, Any] = {
    "downsampling_counts": (1, 1),
    "strides": (2, 3),
    "level_multipliers": (1, 1),
    "hidden_size": 4,
    "width": 4,
    "depth": 1,
    "codebook_size": 8,
    "joint_decoding": True,
}
MODELS: dict[str, Callable[[], Any]] = {
    "waveform_vae": lambda: WaveformVAE(4, (3,), (1,), 4, decoder_input_channels=2, audio_channels=1),
    "waveform_vqvae": lambda: WaveformVQVAE(WaveformVQVAEConfig(**CODEC)),
    "mirrored_waveform_vqvae": lambda: WaveformVQVAE(WaveformVQVAEConfig(**CODEC, causal=True, pad_mode="reflect")),
    "hierarchical_vqvae": lambda: HierarchicalVQVAE(HierarchicalVQVAEConfig(**HIERARCHY)),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch._dynamo.reset()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[request.param]().eval()


def networks(model: Any) -> Sequence[nn.Module]:
    """The parts that a graph is made of: quantizers search outside of it."""
    if isinstance(model, HierarchicalVQVAE):
        return (*model.encoders, model.decoders[-1])
    return model.encoder, model.decoder


def code(model: Any, waveform: Tensor) -> Tensor:
    """Encode and decode a waveform of any length."""
    if isinstance(model, WaveformVAE):
        return model.decode(model.encode(waveform).latent_dist.mean).sample
    return model.decode(model.encode(waveform).audio_codes).audio_values


def waveform(model: Any, time: int) -> Tensor:
    return 0.3 * torch.randn(1, model.config.audio_channels, time, generator=seeded())


def assert_one_graph_a_network(model: Any, signals: list[Tensor], expected: list[Tensor], *, dynamic: bool) -> None:
    counter = CompileCounter()
    for network in networks(model):
        network.compile(backend=counter, fullgraph=True, dynamic=dynamic)
    assert_equal_within_rounding(code(model, signals[0]), expected[0])
    assert counter.frame_count == len(networks(model))
    with torch._dynamo.config.patch(error_on_recompile=True):
        for x, whole in zip(signals[1:], expected[1:], strict=True):
            assert_equal_within_rounding(code(model, x), whole)


@torch.no_grad()
def test_little_is_computed_twice_where_chunks_are_few(model):
    encoder, decoder = networks(model)[0], networks(model)[-1]
    lengths: dict[nn.Module, list[int]] = {encoder: [], decoder: []}
    for network, seen in lengths.items():
        network.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0][-1].shape[-1]))
    frames = model.default_tile_frames + 1  # of two chunks, the two that are shortest beside what is around them
    model.enable_tiling()
    code(model, waveform(model, frames * model.hop_length))
    for network, whole in ((encoder, frames * model.hop_length), (decoder, frames)):
        first, second = lengths[network]
        assert first == second < 7 / 12 * whole


@pytest.mark.slow
@torch.no_grad()
def test_one_static_graph_codes_every_length_in_chunks(model):
    signals = [waveform(model, frames * model.hop_length - 1) for frames in FRAMES]
    expected = [code(model, x) for x in signals]
    model.enable_tiling(8)
    assert_one_graph_a_network(model, signals, expected, dynamic=False)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("model", ["waveform_vae"], indirect=True)
def test_each_length_within_a_window_is_a_static_graph_of_its_own(model):
    counter = CompileCounter()
    for network in networks(model):
        network.compile(backend=counter, fullgraph=True, dynamic=False)
    model.enable_tiling(8)
    for graphs, frames in enumerate((7, 8, 9, 20), start=1):
        code(model, waveform(model, frames * model.hop_length))
        assert counter.frame_count == graphs * len(networks(model))


@pytest.mark.slow
@torch.no_grad()
def test_one_dynamic_graph_codes_every_length_at_once(model):
    signals = [waveform(model, frames * model.hop_length - 1) for frames in FRAMES]
    assert_one_graph_a_network(model, signals, [code(model, x) for x in signals], dynamic=True)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("time", [0, -1])
def test_a_signal_of_no_samples_is_refused_before_it_is_read(time, fused):
    model = MODELS["waveform_vae"]()
    if fused:
        model.fuse()
    with pytest.raises(ValueError, match=f"`time` is {time}; .* at least 1 sample"):
        next(model.encode_chunks(lambda start, stop: pytest.fail("nothing is there to be read"), time))


def test_chunks_on_a_gpu_are_half_a_minute_long(model: Any) -> None:
    on_cpu = model.default_tile_frames
    on_gpu = model.to("meta").default_tile_frames  # any device but the CPU
    assert on_gpu == max(on_cpu, math.ceil(30 * model.frame_rate))


@torch.no_grad()
def test_a_model_without_encoder_decodes_in_chunks() -> None:
    model = MODELS["waveform_vae"]().eval()
    z = torch.randn(1, 2, 100, generator=seeded())
    expected = model.decode(z).sample
    del model.encoder
    model.enable_tiling(16)
    assert_equal_within_rounding(model.decode(z).sample, expected)


def test_tiling_is_switched_by_its_attribute_too() -> None:
    model = MODELS["waveform_vae"]()
    model.use_tiling = True
    assert model.coder.layers.chunked
    model.use_tiling = False
    assert not model.coder.layers.chunked
