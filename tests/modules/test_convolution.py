import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from hf_audio_vae.modules.convolution import (
    WeightNormConv1d,
    WeightNormConv2d,
    WeightNormConvTranspose1d,
    fold_weight_norm,
)
from hf_audio_vae.modules.dilated import UpsamplingConv1d
from tests.dependence import clipped, inputs_read

STRIDES = (1, 2, 3, 4, 5, 8)
SHAPES = [(1, 1, 1), (3, 1, 1), (7, 1, 1), (7, 1, 3), (7, 1, 9), *((2 * stride, stride, 1) for stride in STRIDES)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def downsampling(kernel_size: int, stride: int, dilation: int, causal: bool) -> WeightNormConv1d:
    return WeightNormConv1d(2, 3, kernel_size, stride=stride, dilation=dilation, causal=causal).double()


def upsampling(stride: int, causal: bool) -> WeightNormConvTranspose1d:
    return WeightNormConvTranspose1d(2, 3, stride=stride, causal=causal).double()


@pytest.mark.parametrize(
    ("layer", "reference"),
    [
        (WeightNormConv1d(2, 3, 7), nn.Conv1d(2, 3, 7, padding=3)),
        (WeightNormConv1d(2, 3, 7, bias=False), nn.Conv1d(2, 3, 7, padding=3, bias=False)),
        (WeightNormConv1d(2, 3, 8, stride=4), nn.Conv1d(2, 3, 8, stride=4, padding=2)),
        (WeightNormConvTranspose1d(2, 3, stride=4), nn.ConvTranspose1d(2, 3, 8, stride=4, padding=2)),
    ],
)
def test_weight_norm_matches_torch(layer, reference):
    # A length other than that of the direction, so that the two parts of the weight both count.
    layer = copy.deepcopy(layer).double()
    layer.weight_g.data.copy_(noise(*layer.weight_g.shape).abs() + 0.5)
    reference = weight_norm(copy.deepcopy(reference).double())
    reference.parametrizations.weight.original0.data.copy_(layer.weight_g)
    reference.parametrizations.weight.original1.data.copy_(layer.weight_v)
    if layer.bias is not None:
        reference.bias.data.copy_(layer.bias)
    x = noise(2, 2, 40)
    torch.testing.assert_close(layer(x), reference(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layer", [WeightNormConv1d(2, 3, 7), WeightNormConvTranspose1d(2, 3, stride=3)])
def test_a_new_layer_has_the_initial_weights_of_torch(layer):
    torch.testing.assert_close(layer.weight(), layer.weight_v)


@pytest.mark.parametrize("layer", [WeightNormConv1d(2, 3, 7), WeightNormConvTranspose1d(2, 3, stride=3)])
def test_the_length_of_the_direction_does_not_matter(layer):
    longer = copy.deepcopy(layer).double()
    longer.weight_v.data.mul_(10)
    torch.testing.assert_close(longer.weight(), layer.double().weight(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("layer", [WeightNormConv1d(2, 3, 7), WeightNormConvTranspose1d(2, 3, stride=3)])
def test_a_layer_can_be_copied_after_a_forward_pass(layer):
    x = noise(1, 2, 12).float()
    y = layer(x)
    torch.testing.assert_close(copy.deepcopy(layer)(x), y, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (WeightNormConv1d(2, 3, 7, dilation=3), (1, 2, 40)),
        (WeightNormConv1d(2, 3, 4, stride=2, pad_mode="reflect"), (1, 2, 40)),
        (WeightNormConvTranspose1d(2, 3, stride=5), (1, 2, 8)),
        (WeightNormConv2d(2, 3, (3, 5)), (1, 2, 9, 9)),
    ],
)
def test_folded_weights_give_the_same_result(layer, shape, dtype):
    layer = copy.deepcopy(layer)
    layer.weight_g.data.mul_(2)  # a length other than that of the direction
    layer, x = nn.Sequential(layer).to(dtype), noise(*shape).to(dtype)
    expected = layer(x)
    for _ in range(2):  # what is folded stays folded
        fold_weight_norm(layer)
        assert [name for name, _ in layer.named_parameters()] == ["0.weight_v", "0.bias"]
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
    torch.testing.assert_close(copy.deepcopy(layer)(x), expected, rtol=0, atol=0)


def test_folded_weights_follow_the_dtype_of_their_module():
    layer = WeightNormConv1d(2, 3, 7)
    fold_weight_norm(layer)
    x = noise(1, 2, 12)
    torch.testing.assert_close(layer.to(torch.bfloat16)(x.bfloat16()).double(), layer.double()(x), rtol=0, atol=0.03)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_strides_divide_and_multiply_time_exactly(stride, frames, causal):
    downsampled = downsampling(2 * stride, stride, 1, causal)(noise(1, 2, frames * stride))
    upsampled = upsampling(stride, causal)(noise(1, 2, frames))
    assert (downsampled.shape, upsampled.shape) == ((1, 3, frames), (1, 3, frames * stride))


@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), SHAPES)
def test_causal_convolution_equals_padding_on_the_left(kernel_size, stride, dilation):
    layer = downsampling(kernel_size, stride, dilation, causal=True)
    x = noise(1, 2, 12 * stride)
    padded = F.pad(x, (dilation * (kernel_size - 1) + 1 - stride, 0))
    reference = F.conv1d(padded, layer.weight(), layer.bias, stride, 0, dilation)
    torch.testing.assert_close(layer(x), reference, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), SHAPES)
def test_convolution_reads_as_far_back_as_ahead(kernel_size, stride, dilation):
    layer = downsampling(kernel_size, stride, dilation, causal=False)
    first, last = layer.input_span(0, 1)
    before, after = -first, last - stride  # around the `stride` samples that the output stands for
    assert 0 <= before - after <= 1


@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), SHAPES)
def test_causal_convolution_reads_no_sample_after_its_own_stride(kernel_size, stride, dilation):
    layer = downsampling(kernel_size, stride, dilation, causal=True)
    x = noise(1, 2, 12 * stride)
    later = x.clone()
    later[..., 6 * stride :] += 1
    moved = (layer(later) - layer(x)).abs().amax(dim=(0, 1))
    assert moved[:6].max() == 0
    assert moved[6] > 0


@pytest.mark.parametrize("stride", STRIDES)
def test_causal_upsampling_reads_no_later_frame(stride):
    layer = upsampling(stride, causal=True)
    x = noise(1, 2, 12)
    later = x.clone()
    later[..., 6:] += 1
    moved = (layer(later) - layer(x)).abs().amax(dim=(0, 1))
    assert moved[: 6 * stride].max() == 0
    assert moved[6 * stride] > 0


@pytest.mark.parametrize("stride", STRIDES)
def test_upsampling_is_the_adjoint_of_downsampling(stride):
    # <down(x), y> = <x, up(y)> for equal weights holds only if both cut and pad the same samples.
    down, up = WeightNormConv1d(2, 3, 2 * stride, stride=stride), WeightNormConvTranspose1d(3, 2, stride=stride)
    down, up = down.double(), up.double()
    up.load_state_dict({**up.state_dict(), "weight_g": down.weight_g, "weight_v": down.weight_v})
    down.bias.data.zero_()
    up.bias.data.zero_()
    x, y = noise(1, 2, 6 * stride), noise(1, 3, 6, seed=1)
    torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), SHAPES)
def test_input_span_of_a_convolution_is_exact(kernel_size, stride, dilation, causal):
    layer = downsampling(kernel_size, stride, dilation, causal)
    x = noise(1, 2, 160 * stride)
    for start, stop in [(80, 81), (80, 82), (77, 88)]:
        assert inputs_read(layer, x, start, stop) == layer.input_span(start, stop)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
def test_input_span_of_upsampling_is_exact(stride, causal):
    layer = upsampling(stride, causal)
    x = noise(1, 2, 12)
    time = 12 * stride
    for start in range(time):
        for stop in {start + 1, min(start + stride, time), min(start + 2 * stride + 1, time), time}:
            assert inputs_read(layer, x, start, stop) == clipped(layer.input_span(start, stop), x.shape[-1])


@torch.no_grad()
@pytest.mark.parametrize(
    "layer_of",
    [
        lambda stride: WeightNormConvTranspose1d(768, 384, stride=stride),
        lambda stride: WeightNormConvTranspose1d(768, 384, stride=stride, causal=True),
        lambda stride: UpsamplingConv1d(768, 384, stride=stride),
    ],
    ids=["weight norm", "causal", "plain"],
)
@pytest.mark.parametrize("stride", [3, 5])
def test_upsampling_is_right_at_the_width_and_with_the_threads_where_torch_is_not(stride, layer_of):
    layer = layer_of(stride)
    x = noise(1, 768, 600)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        y = layer(x.float())
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(y.double(), layer.double()(x), rtol=0, atol=1e-5)
