import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hf_audio_vae.modules.activations import LinearSnake1d
from hf_audio_vae.modules.convolution import GroupNormConv1d, WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.modules.dilated import DownsamplingBlock, UpsamplingBlock, UpsamplingConv1d
from hf_audio_vae.modules.residual import DecoderBlock, EncoderBlock, ResidualUnit
from hf_audio_vae.modules.seanet import SEANetLayers, SEANetUnit, SkipLSTM
from hf_audio_vae.runtime.incremental import stream_of
from hf_audio_vae.runtime.streams import FEW, MANY, Stream
from tests.models.probes import seeded

Case = tuple[nn.Module, int]  # a layer of three channels, and of how many inputs a whole signal has a multiple


def seanet_unit(**changes: Any) -> SEANetUnit:
    layers: dict[str, Any] = {"causal": False, "pad_mode": "constant", "residual_shortcut": False}
    numbers = {"residual_kernel_size": 3, "residual_dilations": (1,), "residual_compression": 1}
    sizes = {"activation": LinearSnake1d, "group_norm": False, **numbers}
    return SEANetUnit(3, 2, SEANetLayers(**{**sizes, **layers, **changes}))


def cases() -> Iterator[tuple[str, Case]]:
    for causal in (False, True):
        for pad_mode in ("constant", "reflect"):
            name = f"{'causal' if causal else 'centred'}-{pad_mode}"
            padding: Any = {"causal": causal, "pad_mode": pad_mode}
            yield f"convolution-{name}", (WeightNormConv1d(3, 4, 7, dilation=3, **padding), 1)
            yield f"downsampling-{name}", (WeightNormConv1d(3, 4, 10, stride=5, **padding), 5)
            yield f"even-{name}", (WeightNormConv1d(3, 4, 4, bias=False, **padding), 1)
            yield f"seanet-{name}", (seanet_unit(residual_shortcut=True, **padding), 1)
        for stride in (1, 2, 5):
            yield f"upsampling-{stride}-{causal}", (WeightNormConvTranspose1d(3, 4, stride=stride, causal=causal), 1)
        yield f"unit-{causal}", (ResidualUnit(3, dilation=3, causal=causal), 1)
        yield f"encoder-block-{causal}", (EncoderBlock(3, 4, stride=3, causal=causal), 3)
        yield f"decoder-block-{causal}", (DecoderBlock(3, 4, stride=3, causal=causal), 1)
    yield "lstm", (SkipLSTM(3, 2), 1)
    sizes: Any = {"width": 4, "stride": 3, "count": 1, "unit_width": 2, "dilations": (1, 3)}
    yield "downsampling-block", (DownsamplingBlock(3, 4, **sizes), 3)
    yield "upsampling-block", (UpsamplingBlock(3, **sizes), 1)
    yield "linear-snake", (LinearSnake1d(3), 1)
    yield "upsampling-2", (UpsamplingConv1d(3, 4, stride=2), 1)


with torch.random.fork_rng():
    torch.manual_seed(0)
    CASES = {name: (layer.double(), multiple) for name, (layer, multiple) in cases()}
every_case = pytest.mark.parametrize(("layer", "multiple"), CASES.values(), ids=CASES.keys())


def signal(length: int) -> Tensor:
    return torch.randn(2, 3, length, generator=seeded(), dtype=torch.float64)


@torch.no_grad()
def streamed(stream: Stream, x: Tensor, sizes: list[int]) -> list[Tensor]:
    """Push pieces of these sizes, then the end of the signal; the lengths have to sum to it."""
    pieces = x.split(sizes, dim=-1)
    return [*(stream.push(piece) for piece in pieces), stream.push(x[..., :0], last=True)]


def random_sizes(length: int, seed: int) -> list[int]:
    """Pieces of any size, 0 too."""
    cuts = torch.randint(0, length + 1, (5,), generator=seeded(seed)).sort().values.tolist()
    return [b - a for a, b in zip([0, *cuts], [*cuts, length], strict=True)]


@every_case
def test_pieces_make_the_whole_whatever_they_are(layer: nn.Module, multiple: int) -> None:
    stream = stream_of(layer)
    for length in (multiple, 2 * multiple, 30, 60):
        x = signal(length)
        expected = layer(x)
        for sizes in ([length], [1] * length, [0, length, 0], random_sizes(length, 0), random_sizes(length, 1)):
            stream.reset()
            actual = torch.cat(streamed(stream, x, sizes), dim=-1)
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13)


@every_case
def test_long_pieces_are_computed_like_short_ones(layer: nn.Module, multiple: int) -> None:
    x = signal(15 * (MANY + 1))  # as many outputs of the widest stride, and a multiple of every one
    expected = layer(x)
    for first in (7, 5 * (FEW + 1)):
        actual = torch.cat(streamed(stream_of(layer), x, [first, x.shape[-1] - first]), dim=-1)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("layer", [layer for layer, _ in CASES.values() if hasattr(layer, "input_span")])
def test_outputs_come_with_the_last_input_that_they_read(layer: nn.Module) -> None:
    stream = stream_of(layer)
    count = 0
    for place in range(60):
        with torch.no_grad():
            count += stream.push(signal(1)).shape[-1]
        if count:
            assert layer.input_span(0, count)[1] <= place + 1
        assert layer.input_span(0, count + 1)[1] > place + 1


@every_case
def test_no_output_is_computed_twice(layer: nn.Module, multiple: int) -> None:
    x = signal(60)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        layer(x)
    with FlopCounterMode(display=False) as in_pieces:
        streamed(stream_of(layer), x, random_sizes(60, 2))
    # `LSTM` has no count; that its state goes on is what makes the pieces the whole.
    assert in_pieces.get_total_flops() == whole.get_total_flops()


@every_case
def test_what_is_kept_does_not_grow(layer: nn.Module, multiple: int) -> None:
    stream, sizes = stream_of(layer), []
    for length in (60, 6000, 300):
        with torch.no_grad():
            stream.push(signal(length))
        sizes.append(len(pickle.dumps(stream)))  # with all the memory behind a view
    assert max(sizes) - min(sizes) < 400, "the names of memories vary"


def test_a_reset_stream_begins_anew() -> None:
    for layer, _ in CASES.values():
        stream = stream_of(layer)
        first = streamed(stream, signal(30), [7, 23])
        stream.reset()
        for a, b in zip(first, streamed(stream, signal(30), [7, 23]), strict=True):
            assert torch.equal(a, b)


@every_case
def test_a_stream_does_not_follow_the_weights(layer: nn.Module, multiple: int) -> None:
    layer, x = copy.deepcopy(layer), signal(30)
    stream, expected = stream_of(layer), layer(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1)
    torch.testing.assert_close(torch.cat(streamed(stream, x, [30]), dim=-1), expected, rtol=0, atol=1e-13)


def test_what_reads_the_whole_signal_is_refused() -> None:
    with pytest.raises(ValueError, match="GroupNormConv1d has no streaming form"):
        stream_of(GroupNormConv1d(1, 1, 3))
