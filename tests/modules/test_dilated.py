import pytest
import torch
from torch import Tensor, nn

from hf_audio_vae.modules.dilated import (
    DilatedUnit,
    DownsamplingBlock,
    StridedConv1d,
    UpsamplingBlock,
    UpsamplingConv1d,
)
from tests.dependence import clipped, inputs_read

STRIDES = [1, 2, 3, 4, 5, 8]


@pytest.fixture(autouse=True)
def seeded_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def assert_equal_within_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13 * float(expected.detach().abs().max()))


def blocks(stride: int) -> tuple[nn.Module, nn.Module]:
    sizes = {"width": 4, "stride": stride, "count": 2, "unit_width": 3, "dilations": (1, 3, 9)}
    return DownsamplingBlock(1, 2, **sizes).double(), UpsamplingBlock(2, **sizes).double()


@torch.no_grad()
@pytest.mark.parametrize("stride", STRIDES)
def test_downsampling_keeps_every_frame_and_equals_a_convolution_padded_by_half_a_stride(stride):
    layer, x = StridedConv1d(2, 3, 2 * stride, stride=stride).double(), noise(1, 2, 6 * stride)
    plain = nn.Conv1d(2, 3, 2 * stride, stride, padding=stride // 2).double()
    plain.load_state_dict(layer.state_dict())
    expected = plain(x)
    assert layer(x).shape == (1, 3, 6)
    assert expected.shape[-1] == 6 - stride % 2  # odd strides lose a frame there
    assert_equal_within_rounding(layer(x)[..., : expected.shape[-1]], expected)


@torch.no_grad()
@pytest.mark.parametrize("stride", STRIDES)
def test_upsampling_makes_whole_frames_and_equals_a_transposed_convolution_cut_by_half_a_stride(stride):
    layer, z = UpsamplingConv1d(2, 3, stride=stride).double(), noise(1, 2, 6)
    plain = nn.ConvTranspose1d(2, 3, 2 * stride, stride, padding=stride // 2).double()
    plain.load_state_dict(layer.state_dict())
    expected = plain(z)
    assert layer(z).shape == (1, 3, 6 * stride)
    assert expected.shape[-1] == 6 * stride + stride % 2  # odd strides have a sample too many there
    assert_equal_within_rounding(layer(z), expected[..., : 6 * stride])


@torch.no_grad()
def test_a_unit_adds_its_convolutions_to_its_input():
    unit, x = DilatedUnit(2, 3, dilation=5).double(), noise(1, 2, 30)
    plain = nn.Conv1d(2, 3, 3, padding=5, dilation=5).double()
    plain.load_state_dict(unit.conv1.state_dict())
    expected = x + (unit.conv2.weight[..., 0] @ plain(x.clamp(min=0)).clamp(min=0) + unit.conv2.bias[:, None])
    assert_equal_within_rounding(unit(x), expected)


@pytest.mark.parametrize("stride", STRIDES)
def test_input_spans_of_single_layers_are_exact(stride):
    down = StridedConv1d(1, 1, 2 * stride, stride=stride).double()
    up = UpsamplingConv1d(1, 1, stride=stride).double()
    for layer, inputs, outputs in ((down, 12 * stride, 12), (up, 12, 12 * stride)):
        for start in range(outputs):
            for stop in (start + 1, min(start + 3, outputs)):
                span = clipped(layer.input_span(start, stop), inputs)
                assert inputs_read(layer, noise(1, 1, inputs), start, stop) == span
    dilated = StridedConv1d(1, 1, 3, dilation=stride).double()
    assert inputs_read(dilated, noise(1, 1, 40), 20, 22) == dilated.input_span(20, 22)


@pytest.mark.parametrize("stride", [2, 3])
def test_input_spans_of_blocks_are_exact(stride):
    # Where ReLU is 0 an input is not read: with positive weights and inputs all of them are.
    down, up = blocks(stride)
    for parameter in (*down.parameters(), *up.parameters()):
        parameter.data.abs_()
    hop = stride**2
    for block, x, start, stop in (
        (down, noise(1, 1, 60 * hop), 30, 32),
        (up, noise(1, 2, 60), 30 * hop + 1, 31 * hop),
        (up, noise(1, 2, 60), 0, 1),
    ):
        assert inputs_read(block, x.abs(), start, stop) == clipped(block.input_span(start, stop), x.shape[-1])


@pytest.mark.parametrize("stride", [2, 3])
def test_blocks_change_the_rate_by_every_stage(stride):
    down, up = blocks(stride)
    x = noise(2, 1, 7 * stride**2)
    z = down(x)
    assert z.shape == (2, 2, 7)
    assert up(z).shape == (2, 2, 7 * stride**2)
