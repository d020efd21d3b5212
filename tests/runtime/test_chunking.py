import pytest
import torch
from torch import Tensor, nn

from hf_audio_vae.audio.framing import frame_count
from hf_audio_vae.modules.residual import DecoderBlock, EncoderBlock
from hf_audio_vae.runtime.chunking import SpannedModule, decode_in_chunks, encode_in_chunks, even_chunk_frames

STRIDES = [(1,), (2,), (3,), (3, 2), (5, 1, 2)]


class Chain(nn.Module):
    """Blocks in a row, and the span of the row."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.lengths_seen: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.lengths_seen.append(x.shape[-1])
        for block in self.blocks:
            x = block(x)
        return x

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        for block in reversed(self.blocks):
            start, stop = block.input_span(start, stop)
        return start, stop


class Narrow:
    """A module that claims to read one input less than it does, on one side."""

    def __init__(self, module: SpannedModule, left: int, right: int) -> None:
        self.module, self.left, self.right = module, left, right

    def __call__(self, x: Tensor) -> Tensor:
        return self.module(x)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        first, last = self.module.input_span(start, stop)
        return first + self.left, last - self.right


@pytest.fixture(autouse=True)
def seeded_weights():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def hop(strides: tuple[int, ...]) -> int:
    return int(torch.tensor(strides).prod())


def encoder(strides: tuple[int, ...], causal: bool) -> Chain:
    return Chain([EncoderBlock(2, 2, stride=stride, causal=causal) for stride in strides]).double()


def decoder(strides: tuple[int, ...], causal: bool) -> Chain:
    return Chain([DecoderBlock(2, 2, stride=stride, causal=causal) for stride in reversed(strides)]).double()


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def assert_equal_within_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-13 * float(expected.detach().abs().max()))


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("strides", STRIDES)
def test_encoding_in_chunks_equals_encoding_at_once(strides, causal):
    module, hop_length = encoder(strides, causal), hop(strides)
    for frames in (1, 2, 3, 29, 64):
        x = noise(2, 2, frames * hop_length)
        whole = module(x)
        for chunk_frames in (1, 2, 5, 28, 63, 64, 100):
            assert_equal_within_rounding(encode_in_chunks(module, x, hop_length, chunk_frames), whole)


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("strides", STRIDES)
def test_decoding_in_chunks_equals_decoding_at_once(strides, causal):
    module, hop_length = decoder(strides, causal), hop(strides)
    for frames in (1, 2, 3, 29, 64):
        z = noise(2, 2, frames)
        whole = module(z)
        for chunk_frames in (1, 2, 5, 28, 63, 64, 100):
            assert_equal_within_rounding(decode_in_chunks(module, z, hop_length, chunk_frames), whole)


@torch.no_grad()
@pytest.mark.parametrize(("left", "right"), [(1, 0), (0, 1)])
def test_one_input_less_than_the_span_is_not_enough(left, right):
    # Spans of a decoder are counted in its inputs, so no rounding to whole frames can hide the missing one.
    module, z = decoder((3, 2), causal=False), noise(1, 2, 200)
    chunked = decode_in_chunks(Narrow(module, left, right), z, 6, 50)
    assert (chunked - module(z)).abs().max() > 1e-9


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_windows_of_all_lengths_have_one_shape(causal):
    down, up = encoder((3, 2), causal), decoder((3, 2), causal)
    for frames in (93, 100, 101, 109, 400):
        encode_in_chunks(down, noise(1, 2, frames * 6 - 5), 6, 10)
        decode_in_chunks(up, noise(1, 2, frames), 6, 10)
    assert len(set(down.lengths_seen)) == len(set(up.lengths_seen)) == 1


@torch.no_grad()
def test_what_a_window_holds_is_computed_once():
    down, up = encoder((3, 2), causal=False), decoder((3, 2), causal=False)
    assert encode_in_chunks(down, noise(1, 2, 69), 6, 2).shape == (1, 2, 12)
    assert decode_in_chunks(up, noise(1, 2, 12), 6, 2).shape == (1, 2, 72)
    assert (down.lengths_seen, up.lengths_seen) == ([72], [12])


@torch.no_grad()
def test_windows_hold_no_more_than_the_span_in_whole_frames():
    down, up = encoder((3, 2), causal=False), decoder((3, 2), causal=False)
    encode_in_chunks(down, noise(1, 2, 1200), 6, 10)
    decode_in_chunks(up, noise(1, 2, 200), 6, 10)
    first, last = down.input_span(0, 10)
    assert max(down.lengths_seen) < last - first + 2 * 6
    first, last = up.input_span(0, 60)
    assert max(up.lengths_seen) == last - first


def test_even_chunks_are_as_few_and_as_short_as_can_be():
    for frames in range(1, 60):
        for most in range(1, 60):
            size = even_chunk_frames(frames, most)
            count = frame_count(frames, most)
            assert frame_count(frames, size) == count
            assert size <= most
            assert count * (size - 1) < frames


def test_gradients_flow_through_chunks():
    module, z = decoder((3, 2), causal=False), noise(1, 2, 60).requires_grad_()
    (whole,) = torch.autograd.grad(module(z).square().sum(), z)
    (chunked,) = torch.autograd.grad(decode_in_chunks(module, z, 6, 7).square().sum(), z)
    assert_equal_within_rounding(chunked, whole)
