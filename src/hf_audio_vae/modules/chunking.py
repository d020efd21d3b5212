"""Exact coding of long signals in chunks: each window holds all that its chunk's outputs read, computed from layers.

Layers at a window's edge see zeros where the signal goes on, but no output that is kept depends on them. At the true
ends of the signal a window ends there too, so its zeros are the ones the whole-signal pass pads. Windows at the ends
are as wide as those between: a compiled module meets one shape for all signals that need several windows.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from hf_audio_vae.audio.framing import frame_count, pad_to_frames

FAR = 2**20  # frames from the signal's start, which some paddings mirror


class SpannedModule(Protocol):
    """A network over time that knows which inputs its outputs [start, stop) read."""

    def __call__(self, x: Tensor) -> Tensor:
        """Run the network."""

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first input and the one past the last that the outputs [start, stop) depend on."""


def span_through(layers: Iterable[Any], start: int, stop: int) -> tuple[int, int]:
    """Return which inputs of the first of `layers` the outputs [start, stop) of the last one read."""
    for layer in reversed(tuple(layers)):
        start, stop = layer.input_span(start, stop)
    return start, stop


def encode_in_chunks(encoder: SpannedModule, x: Tensor, hop_length: int, chunk_frames: int) -> Tensor:
    """Return ``encoder(x)``, `chunk_frames` at a time; (batch, in, time) -> (batch, out, frames).

    Zeros continue `x` up to a whole frame, in its last window alone: a long signal is never copied.
    """

    def read(start: int, stop: int) -> Tensor:
        return x[..., start:stop]

    chunks = encoded_chunks(encoder, read, x.shape[-1], hop_length, chunk_frames)
    return _join(chunks, frame_count(x.shape[-1], hop_length))


def encoded_chunks(
    encoder: SpannedModule, read: Callable[[int, int], Tensor], time: int, hop_length: int, chunk_frames: int
) -> Iterator[Tensor]:
    """Yield ``encoder(x)`` in pieces of `chunk_frames`, (batch, out, frames), the last one perhaps shorter.

    `read(start, stop)` returns these of the `time` samples of `x`, (batch, in, stop - start), so that it need not be
    in memory as a whole.
    """

    def input_span(start: int, stop: int) -> tuple[int, int]:
        first, last = encoder.input_span(start, stop)  # samples
        return first // hop_length, frame_count(last, hop_length)

    for chunk, window in _windows(input_span, frame_count(time, hop_length), chunk_frames):
        samples = read(window.start * hop_length, min(window.stop * hop_length, time))
        encoded = encoder(with_own_strides(pad_to_frames(samples, hop_length)))
        yield from encoded[..., chunk.start - window.start : chunk.stop - window.start].split(chunk_frames, dim=-1)


def decode_in_chunks(decoder: SpannedModule, z: Tensor, hop_length: int, chunk_frames: int) -> Tensor:
    """Return ``decoder(z)``, computed `chunk_frames` at a time; (batch, in, frames) -> (batch, out, frames * hop)."""

    def decode(first: int, last: int) -> Tensor:
        return decoder(with_own_strides(z[..., first:last]))

    return decode_windows(decode, decoder.input_span, z.shape[-1], hop_length, chunk_frames)


def default_chunk_frames(decoder: SpannedModule, hop_length: int) -> int:
    """Twelve times the frames that a decoder reads for one.

    So full chunks compute at most a twelfth, about 8 %, twice; even ones, which may be half as long where two share a
    signal, at most a sixth, 17 %.
    """
    far = FAR * hop_length
    first, last = decoder.input_span(far, far + hop_length)
    return 12 * (last - first)


def even_chunk_frames(frames: int, most: int) -> int:
    """Return the length of chunks of like length, as few as there can be of `most` frames."""
    return frame_count(frames, frame_count(frames, most))


def decode_windows(
    decode: Callable[[int, int], Tensor],
    input_span: Callable[[int, int], tuple[int, int]],
    frames: int,
    hop_length: int,
    chunk_frames: int,
) -> Tensor:
    """Return ``decode(0, frames)``, computed `chunk_frames` at a time; (batch, out, frames * hop_length).

    `decode(first, last)` decodes these frames as if there were no others, `input_span(start, stop)` names the frames
    that these samples read.
    """

    def span(start: int, stop: int) -> tuple[int, int]:
        return input_span(start * hop_length, stop * hop_length)

    def decoded_chunks() -> Iterator[Tensor]:
        for chunk, window in _windows(span, frames, chunk_frames):
            start, stop = ((place - window.start) * hop_length for place in (chunk.start, chunk.stop))
            yield decode(window.start, window.stop)[..., start:stop]

    return _join(decoded_chunks(), frames * hop_length)


def with_own_strides(window: Tensor) -> Tensor:
    """Copy a view, whose strides are those of the whole signal: a compiled module takes them for part of the shape."""
    return window.clone(memory_format=torch.contiguous_format)


def _join(chunks: Iterator[Tensor], length: int) -> Tensor:
    place = 0
    for chunk in chunks:
        if place == 0:
            output = chunk.new_empty(*chunk.shape[:-1], length)
        output[..., place : place + chunk.shape[-1]] = chunk
        place += chunk.shape[-1]
    return output


def _windows(
    input_span: Callable[[int, int], tuple[int, int]], frames: int, chunk_frames: int
) -> Iterator[tuple[range, range]]:
    """Yield chunks of `chunk_frames` with the window that each is coded in; one of all frames, if a window holds them.

    `input_span(start, stop)` names the frames that these frames read.
    """
    first, last = input_span(FAR, FAR + chunk_frames)
    width = last - first
    if frames <= width:
        yield range(frames), range(frames)
        return
    for start in range(0, frames, chunk_frames):
        stop = min(start + chunk_frames, frames)
        first = min(max(input_span(start, stop)[0], 0), frames - width)
        yield range(start, stop), range(first, first + width)
