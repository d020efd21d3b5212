import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.activations import LinearSnake1d
from hf_audio_vae.modules.convolution import GroupNormConv1d, GroupNormConvTranspose1d, WeightNormConv1d
from hf_audio_vae.modules.seanet import SEANetLayers, SEANetUnit, SkipLSTM
from tests.dependence import clipped, inputs_read


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def layers(**changes: object) -> SEANetLayers:
    choices = {"group_norm": False, "causal": False, "pad_mode": "constant", "residual_kernel_size": 3}
    choices |= {"residual_dilations": (1,), "residual_compression": 2, "residual_shortcut": False}
    return SEANetLayers(activation=LinearSnake1d, **choices | changes)


def test_linear_snake_follows_its_formula_at_negative_frequencies_too():
    snake, x = LinearSnake1d(3).double(), noise(2, 3, 50)
    snake.alpha.data.copy_(torch.tensor([-0.5, 1.0, 2.0]).view(1, 3, 1))
    torch.testing.assert_close(snake(x), x + torch.sin(snake.alpha * x) ** 2 / snake.alpha, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("kernel_size", "stride", "dilation"), [(7, 1, 1), (3, 1, 4), (4, 2, 1), (6, 3, 1)])
def test_mirrored_padding_is_that_of_torch_where_the_signal_is_long_enough(kernel_size, stride, dilation, causal):
    layer = WeightNormConv1d(
        2, 3, kernel_size, stride=stride, dilation=dilation, causal=causal, pad_mode="reflect"
    ).double()
    x = noise(1, 2, 12 * stride)
    padded = F.pad(x, (layer.alignment.left, layer.alignment.right), mode="reflect")
    torch.testing.assert_close(layer(x), F.conv1d(padded, layer.weight(), layer.bias, stride, 0, dilation))
    for start, stop in [(0, 1), (1, 3), (5, 6), (0, 12), (11, 12)]:
        read, span = inputs_read(layer, x, start, stop), clipped(layer.input_span(start, stop), x.shape[-1])
        assert span[0] <= read[0] and read[1] <= span[1]
        assert span == read or dilation > 1  # between the taps there is more than is read


def test_a_signal_shorter_than_its_padding_is_continued_with_zeros_before_it_is_mirrored():
    layer = WeightNormConv1d(1, 1, 7, pad_mode="reflect").double()
    x = noise(1, 1, 2)
    a, b = x.flatten()
    # a b 0 0, mirrored by 3 on both sides: 0 0 b (a b 0 0) 0 b a; cut by two
    zero = torch.zeros_like(a)
    padded = torch.stack([zero, zero, b, a, b, zero, zero, zero])[None, None]
    torch.testing.assert_close(layer(x), F.conv1d(padded, layer.weight(), layer.bias))


def test_an_unknown_padding_is_refused():
    with pytest.raises(ValueError, match=r"`pad_mode` 'same' is unknown; use one of"):
        WeightNormConv1d(1, 1, 3, pad_mode="same")


def test_group_norm_leaves_mean_zero_and_deviation_one():
    down = GroupNormConv1d(2, 6, 4, stride=2).double()
    y = 5 + 3 * down(100 * noise(2, 2, 40))
    torch.testing.assert_close(y.mean(dim=(1, 2)), torch.full((2,), 5.0, dtype=y.dtype), rtol=1e-9, atol=0)
    torch.testing.assert_close(
        y.std(dim=(1, 2), correction=0), torch.full((2,), 3.0, dtype=y.dtype), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_group_norm_of_upsampling_counts_what_is_cut(stride):
    up = GroupNormConvTranspose1d(2, 3, stride=stride).double()
    x = noise(1, 2, 10)
    full = F.group_norm(F.conv_transpose1d(x, up.weight, up.bias, stride), 1)
    assert up(x).shape == (1, 3, 10 * stride)
    torch.testing.assert_close(up(x), up.alignment.slice(full, 10))


@pytest.mark.parametrize("shortcut", [False, True])
def test_a_residual_unit_adds_its_shortcut(shortcut):
    unit = SEANetUnit(4, 3, layers(residual_shortcut=shortcut)).double()
    assert unit.conv1.weight_v.shape == (2, 4, 3)
    assert isinstance(unit.shortcut, nn.Identity) != shortcut
    x = noise(1, 4, 20)
    unit.conv2.weight_g.data.zero_()
    unit.conv2.bias.data.zero_()
    torch.testing.assert_close(unit(x), unit.shortcut(x))


def test_an_lstm_that_forgets_all_passes_its_input_on():
    lstm = SkipLSTM(3, 1).double()
    for parameter in lstm.parameters():
        parameter.data.zero_()
    x = noise(2, 3, 7)
    assert torch.equal(lstm(x), x)


def test_an_lstm_sees_what_was_and_not_what_comes():
    lstm, x = SkipLSTM(3, 2).double(), noise(1, 3, 9)
    assert inputs_read(lstm, x, 4, 5) == (0, 5)
