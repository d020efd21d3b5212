"""Stacks of layers on rows against the layers themselves."""

import pytest
import torch
from torch import Tensor, nn

from hf_audio_vae.modules.activations import LinearSnake1d, Snake1d
from hf_audio_vae.modules.convolution import GroupNormConv1d, WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.modules.residual import DecoderBlock, EncoderBlock, ResidualUnit
from hf_audio_vae.runtime.fused import FusedStack
from hf_audio_vae.runtime.fused.steps import SpectralUnit, Step, TapUnit
from hf_audio_vae.runtime.native import native_kernels
from tests.memory import working_bytes

KERNELS = native_kernels(torch.float32)
pytestmark = pytest.mark.skipif(KERNELS is None, reason="nothing compiles the kernels here")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def decoder(strides: tuple[int, ...], causal: bool) -> nn.Sequential:
    layers: list[nn.Module] = [WeightNormConv1d(3, 12, 7, causal=causal)]
    layers += [DecoderBlock(12, 12, stride=stride, causal=causal) for stride in strides]
    return lively(nn.Sequential(*layers, Snake1d(12), WeightNormConv1d(12, 2, 7, causal=causal, bias=False)))


def encoder(strides: tuple[int, ...], causal: bool) -> nn.Sequential:
    layers: list[nn.Module] = [WeightNormConv1d(2, 12, 7, causal=causal)]
    layers += [EncoderBlock(12, 12, stride=stride, causal=causal) for stride in strides]
    return lively(nn.Sequential(*layers, Snake1d(12), WeightNormConv1d(12, 6, 3, causal=causal)))


@torch.no_grad()
def lively(layers: nn.Sequential) -> nn.Sequential:
    """Give every parameter a value of its own, Snake's too."""
    for parameter in layers.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return layers


def assert_equal_but_for_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=5e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("strides", [(2,), (3, 2), (1, 5), (8, 4)])
@pytest.mark.parametrize("frames", [1, 2, 40])
@torch.no_grad()
def test_a_fused_stack_is_its_layers(strides, causal, frames):
    layers = decoder(strides, causal)
    z = torch.randn(2, 3, frames)
    assert_equal_but_for_rounding(FusedStack(layers, KERNELS)(z), layers(z))
    layers = encoder(strides, causal)
    x = torch.randn(2, 2, frames * torch.tensor(strides).prod())
    assert_equal_but_for_rounding(FusedStack(layers, KERNELS)(x), layers(x))


@pytest.mark.parametrize("chunk", [1, 2, 5, 33, 1000])
@torch.no_grad()
def test_chunks_of_any_length_join_to_the_whole(chunk):
    layers = decoder((3, 2), causal=False)
    z = torch.randn(1, 3, 50)
    chunks = list(FusedStack(layers, KERNELS).chunks(lambda start, stop: z[..., start:stop], 50, 50, chunk))
    assert {part.shape[-1] for part in chunks[:-1]} <= {chunk}
    assert_equal_but_for_rounding(torch.cat(chunks, dim=-1), layers(z))


@pytest.mark.parametrize("time", [*range(90, 110), 300])
@torch.no_grad()
def test_zeros_continue_a_signal_that_is_read_in_order_and_once(time):
    layers = encoder((3, 2), causal=False)
    x = torch.randn(1, 2, time)
    asked = []

    def read(start: int, stop: int) -> Tensor:
        assert start < stop
        asked.append((start, stop))
        return x[..., start:stop]

    length = -(-time // 6) * 6
    chunks = list(FusedStack(layers, KERNELS).chunks(read, time, length, 4))
    assert_equal_but_for_rounding(torch.cat(chunks, dim=-1), layers(torch.nn.functional.pad(x, (0, length - time))))
    assert asked[0][0] == 0
    assert asked[-1][1] == time
    assert all(before[1] == after[0] for before, after in zip(asked, asked[1:], strict=False))


@torch.no_grad()
def test_no_row_is_made_twice(monkeypatch):
    stack = FusedStack(decoder((4, 2), causal=False), KERNELS)
    made = dict.fromkeys(stack.steps, 0)

    def count(step: Step, run):
        def counted(x, y, workspace):
            made[step] += len(y)
            run(x, y, workspace)

        return counted

    for step in stack.steps:
        monkeypatch.setattr(step, "run", count(step, step.run))
    frames = 200
    z = torch.randn(1, 3, frames)
    list(stack.chunks(lambda start, stop: z[..., start:stop], frames, frames, 8))
    reach = 80  # past the signal's end, where later layers pad
    for step, length in zip(stack.steps, stack.lengths(frames)[1:], strict=True):
        assert length <= made[step] <= length + reach


@pytest.mark.slow
@torch.no_grad()
def test_memory_does_not_grow_with_the_signal():
    stack = FusedStack(decoder((4, 4), causal=False), KERNELS)

    def run(x: Tensor) -> Tensor:
        output = x.new_empty(1, 2, 16 * x.shape[-1])
        place = 0
        for part in stack.chunks(lambda start, stop: x[..., start:stop], x.shape[-1], x.shape[-1], 64):
            output[..., place : place + part.shape[-1]] = part
            place += part.shape[-1]
        return output

    short, long = (working_bytes(run, torch.randn(1, 3, frames)) for frames in (100, 1600))
    assert long <= 1.01 * short


@torch.no_grad()
def test_wide_units_are_computed_tap_by_tap_to_the_same_results(monkeypatch):
    unit = nn.Sequential(WeightNormConv1d(1, 24, 7), ResidualUnit(24, dilation=3, causal=False))
    lively(unit)
    layers = nn.Sequential(*unit, WeightNormConv1d(24, 1, 7))
    x = torch.randn(1, 1, 300)
    by_spectra = FusedStack(layers, KERNELS)
    monkeypatch.setattr("hf_audio_vae.runtime.fused.steps.MOST_SPECTRAL_CHANNELS", 16)
    by_taps = FusedStack(layers, KERNELS)
    assert isinstance(by_spectra.steps[1], SpectralUnit)
    assert isinstance(by_taps.steps[1], TapUnit)
    for stack in (by_spectra, by_taps):
        assert_equal_but_for_rounding(stack(x), layers(x))


@torch.no_grad()
def test_snake_of_dac_and_a_bound_at_the_end():
    layers = nn.Sequential(
        WeightNormConv1d(1, 8, 7),
        LinearSnake1d(8),
        WeightNormConvTranspose1d(8, 4, stride=3),
        LinearSnake1d(4),
        WeightNormConv1d(4, 1, 7),
        nn.Tanh(),
    )
    lively(layers)
    layers[1].alpha[:, ::2] *= -1  # as published weights have it
    x = 10 * torch.randn(1, 1, 100)
    assert_equal_but_for_rounding(FusedStack(layers, KERNELS)(x), layers(x))


@pytest.mark.parametrize(
    "layer", [nn.ELU(), nn.LSTM(4, 4), GroupNormConv1d(4, 4, 7), WeightNormConv1d(4, 4, 7, pad_mode="reflect")]
)
def test_layers_without_a_kernel_are_named(layer):
    with pytest.raises(ValueError, match=type(layer).__name__):
        FusedStack([WeightNormConv1d(1, 4, 7), layer, WeightNormConv1d(4, 1, 7)], KERNELS)


def test_layers_in_an_order_without_a_kernel_are_refused():
    ends = WeightNormConv1d(1, 4, 7), WeightNormConv1d(4, 1, 7)
    for middle in ([Snake1d(4), Snake1d(4)], [Snake1d(4), ResidualUnit(4, dilation=1, causal=False)], [nn.Tanh()]):
        with pytest.raises(ValueError, match="there is no kernel"):
            FusedStack([ends[0], *middle, ends[1]], KERNELS)
    with pytest.raises(ValueError, match="no kernel for WeightNormConv1d as first or Snake1d as last layer; run"):
        FusedStack([*ends, Snake1d(1)], KERNELS)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@torch.no_grad()
def test_the_default_dtype_has_no_say(dtype):
    layers = decoder((3, 2), causal=False)
    z = torch.randn(1, 3, 30)
    expected = layers(z)
    torch.set_default_dtype(dtype)
    try:
        assert_equal_but_for_rounding(FusedStack(layers, KERNELS)(z), expected)
    finally:
        torch.set_default_dtype(torch.float32)


@torch.no_grad()
def test_threads_change_nothing():
    layers = decoder((8, 4), causal=False)
    z = torch.randn(1, 3, 100)
    expected = FusedStack(layers, KERNELS)(z)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(FusedStack(layers, KERNELS)(z), expected)
    finally:
        torch.set_num_threads(threads)
