import pytest
import torch
from diffusers.models.autoencoders.autoencoder_oobleck import (
    OobleckDecoderBlock,
    OobleckEncoderBlock,
    OobleckResidualUnit,
)
from torch import Tensor, nn

from hf_audio_vae.modules.residual import DILATIONS, DecoderBlock, EncoderBlock, ResidualUnit
from tests.dependence import clipped, inputs_read
from tests.memory import saved_bytes

STRIDES = (1, 2, 3, 8)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def with_random_parameters(module: nn.Module) -> nn.Module:
    module.double()
    for parameter in module.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dilation", DILATIONS)
def test_a_silent_last_convolution_makes_the_unit_the_identity(dilation, causal):
    unit = with_random_parameters(ResidualUnit(4, dilation=dilation, causal=causal))
    unit.conv2.weight_g.data.zero_()
    unit.conv2.bias.data.zero_()
    x = noise(2, 4, 50)
    assert torch.equal(unit(x), x)


@pytest.mark.parametrize(
    ("ours", "oobleck", "channels"),
    [
        *((ResidualUnit(4, dilation=d, causal=False), OobleckResidualUnit(4, dilation=d), 4) for d in DILATIONS),
        *((EncoderBlock(4, 6, stride=s, causal=False), OobleckEncoderBlock(4, 6, s), 4) for s in (2, 4, 8)),
        *((DecoderBlock(6, 4, stride=s, causal=False), OobleckDecoderBlock(6, 4, s), 6) for s in (2, 4, 8)),
    ],
)
def test_blocks_equal_those_of_oobleck(ours, oobleck, channels):
    with_random_parameters(ours)
    oobleck.double().load_state_dict(ours.state_dict())
    x = noise(2, channels, 48)
    torch.testing.assert_close(ours(x), oobleck(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
def test_input_span_of_an_encoder_block_is_exact(stride, causal):
    block = with_random_parameters(EncoderBlock(2, 3, stride=stride, causal=causal))
    frames = 2 * 80 // stride + 20
    x = noise(1, 2, frames * stride)
    middle = frames // 2
    for start, stop in [(middle, middle + 1), (middle, middle + 3), (0, 1), (frames - 1, frames)]:
        assert inputs_read(block, x, start, stop) == clipped(block.input_span(start, stop), x.shape[-1])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("stride", STRIDES)
def test_input_span_of_a_decoder_block_is_exact(stride, causal):
    block = with_random_parameters(DecoderBlock(3, 2, stride=stride, causal=causal))
    frames = 2 * 80 // stride + 20
    x = noise(1, 3, frames)
    middle, time = frames * stride // 2, frames * stride
    spans = [(middle + shift, middle + shift + 1) for shift in range(stride)]
    for start, stop in [*spans, (middle, middle + 2 * stride), (0, 1), (time - 1, time)]:
        assert inputs_read(block, x, start, stop) == clipped(block.input_span(start, stop), x.shape[-1])


@pytest.mark.parametrize("stride", STRIDES)
def test_causal_blocks_read_nothing_later(stride):
    down = with_random_parameters(EncoderBlock(2, 3, stride=stride, causal=True))
    up = with_random_parameters(DecoderBlock(3, 2, stride=stride, causal=True))
    x, z = noise(1, 2, 12 * stride), noise(1, 3, 12)
    x_later, z_later = x.clone(), z.clone()
    x_later[..., 6 * stride :] += 1
    z_later[..., 6:] += 1
    assert (down(x_later) - down(x)).abs().amax(dim=(0, 1)).nonzero()[0] == 6
    assert (up(z_later) - up(z)).abs().amax(dim=(0, 1)).nonzero()[0] == 6 * stride


def test_a_unit_keeps_what_its_four_layers_read_and_one_copy_of_its_weights():
    channels, time = 4, 1000
    unit, x = with_random_parameters(ResidualUnit(channels, dilation=3, causal=False)), noise(2, channels, time)
    weights = (7 + 1) * channels * channels  # each a product of direction and length, which the convolution reads
    factors = 2 * 8 * channels  # of a Snake, what it is made of, and the lengths of a weight
    numbers = 4 * x.numel() + weights + factors
    kept = saved_bytes(lambda: unit(x.requires_grad_() * 1), unit.parameters())
    assert kept <= numbers * x.element_size()


def test_hooks_see_the_output_of_the_last_convolution():
    unit, x = with_random_parameters(ResidualUnit(4, dilation=1, causal=False)), noise(1, 4, 50)
    seen = []
    unit.conv2.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    unit.conv2.register_full_backward_hook(lambda *gradients: None)
    unit(x.requires_grad_()).sum().backward()
    ((inputs, output),) = seen
    torch.testing.assert_close(output, unit.conv2.alignment.convolve(inputs, unit.conv2.weight(), unit.conv2.bias))
