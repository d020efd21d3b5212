"""Exact coding of long signals in chunks: each window holds all inputs of its chunk, by the spans of the layers.

At the edge of a window, layers see zeros where the signal continues, but no kept output depends on them. At the ends
of the signal, the window ends too, so its zeros are the padding of the whole signal. All windows have the same width:
a compiled module sees one shape for all signals that need several windows.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.framing import frame_count, pad_to_frames
from hf_audio_vae.modules.stack import SpannedModule

FAR = 2**20  # frame far from the start of the signal, which some paddings mirror

Frames = Tensor | Sequence[Tensor]  # one tensor, or levels with rates that are multiples of the last level's


def encode_in_chunks(encoder: SpannedModule, x: Tensor, hop_length: int, chunk_frames: int) -> Any:
    """Return ``encoder(x)``, computed `chunk_frames` at a time; (batch, in, time) -> (batch, out, frames).

    Only the last window of `x` is padded with zeros to a whole frame: a long signal is never copied.
    """

    def read(start: int, stop: int) -> Tensor:
        return x[..., start:stop]

    chunks = _encoded(encoder, read, x.shape[-1], hop_length, chunk_frames)
    return _join(chunks, frame_count(x.shape[-1], hop_length))


def encoded_chunks(
    encoder: SpannedModule, read: Callable[[int, int], Tensor], time: int, hop_length: int, chunk_frames: int
) -> Iterator[Frames]:
    """Yield ``encoder(x)`` in pieces of `chunk_frames`, (batch, out, frames); the last one may be shorter.

    `read(start, stop)` returns these samples of `x`, (batch, in, stop - start), out of `time` samples. So `x` need not
    be in memory as a whole.
    """
    for _, encoded in _encoded(encoder, read, time, hop_length, chunk_frames):
        yield encoded


def decode_in_chunks(decoder: SpannedModule, z: Frames, hop_length: int, chunk_frames: int) -> Any:
    """Return ``decoder(z)``, computed `chunk_frames` at a time; (batch, in, frames) -> (batch, out, frames * hop)."""
    return _join(_decoded(decoder, z, hop_length, chunk_frames), frames_of(z))


def decoded_chunks(decoder: SpannedModule, z: Frames, hop_length: int, chunk_frames: int) -> Iterator[Frames]:
    """Yield ``decoder(z)`` in pieces of `chunk_frames * hop_length` samples; the last one may be shorter."""
    for _, decoded in _decoded(decoder, z, hop_length, chunk_frames):
        yield decoded


def frames_of(signal: Frames) -> int:
    """Return the length of a signal, or of its last level."""
    return signal.shape[-1] if isinstance(signal, Tensor) else signal[-1].shape[-1]


def default_chunk_frames(decoder: SpannedModule, hop_length: int, frame_length: int) -> int:
    """Return twelve times the frames that a decoder reads for one frame of `frame_length` samples.

    The decoder's own frames have `hop_length` samples; the result counts frames of `frame_length`. Full chunks then
    compute at most 1/12 (8 %) of the frames twice. If a signal is split into two chunks of equal length, they can be
    half as long and compute at most 1/6 (17 %) of the frames twice.
    """
    far = FAR * frame_length
    first, last = decoder.input_span(far, far + frame_length)
    return 12 * frame_count(last - first, frame_length // hop_length)


def even_chunk_frames(frames: int, most: int) -> int:
    """Return the length of the fewest chunks of equal length with at most `most` frames."""
    return frame_count(frames, frame_count(frames, most))


def with_own_strides(window: Frames) -> Frames:
    """Copy a view of the whole signal to contiguous memory: compiled modules guard on strides as on shapes."""
    if isinstance(window, Tensor):
        return window.clone(memory_format=torch.contiguous_format)
    return [level.clone(memory_format=torch.contiguous_format) for level in window]


def _encoded(
    encoder: SpannedModule, read: Callable[[int, int], Tensor], time: int, hop_length: int, chunk_frames: int
) -> Iterator[tuple[range, Frames]]:
    def input_span(start: int, stop: int) -> tuple[int, int]:
        first, last = encoder.input_span(start, stop)  # samples
        return first // hop_length, frame_count(last, hop_length)

    for chunk, window in _windows(input_span, frame_count(time, hop_length), chunk_frames):
        samples = read(window.start * hop_length, min(window.stop * hop_length, time))
        encoded = encoder(with_own_strides(pad_to_frames(samples, hop_length)))
        for start in range(chunk.start, chunk.stop, chunk_frames):
            piece = range(start, min(start + chunk_frames, chunk.stop))
            yield piece, _cut(encoded, piece, window)


def _decoded(decoder: SpannedModule, z: Frames, hop_length: int, chunk_frames: int) -> Iterator[tuple[range, Frames]]:
    def input_span(start: int, stop: int) -> tuple[int, int]:
        return decoder.input_span(start * hop_length, stop * hop_length)

    frames = frames_of(z)
    for chunk, window in _windows(input_span, frames, chunk_frames):
        decoded = decoder(with_own_strides(_cut(z, window, range(frames))))
        for start in range(chunk.start, chunk.stop, chunk_frames):
            piece = range(start, min(start + chunk_frames, chunk.stop))
            yield piece, _cut(decoded, piece, window)


def _cut(signal: Frames, frames: range, of: range) -> Frames:
    """Return the part `frames` of a signal that has the frames `of`; each frame may have several values or samples."""
    if not isinstance(signal, Tensor):
        return [_cut_level(level, frames, of) for level in signal]
    return _cut_level(signal, frames, of)


def _cut_level(level: Tensor, frames: range, of: range) -> Tensor:
    rate = level.shape[-1] // len(of)
    return level[..., (frames.start - of.start) * rate : (frames.stop - of.start) * rate]


def _join(chunks: Iterator[tuple[range, Frames]], frames: int) -> Frames:
    """Join chunks, each given with the range of its frames."""
    output: list[Tensor] = []
    for held, chunk in chunks:
        levels = [chunk] if isinstance(chunk, Tensor) else chunk
        if not output:
            sizes = [frames * (level.shape[-1] // len(held)) for level in levels]
            output = [level.new_empty(*level.shape[:-1], n) for level, n in zip(levels, sizes, strict=True)]
        for whole, level in zip(output, levels, strict=True):
            _cut_level(whole, held, range(frames)).copy_(level)
    return output[0] if isinstance(chunk, Tensor) else output


def _windows(
    input_span: Callable[[int, int], tuple[int, int]], frames: int, chunk_frames: int
) -> Iterator[tuple[range, range]]:
    """Yield the frames of each chunk and of its window; a single chunk if one window holds all frames.

    `input_span(start, stop)` returns the frames that the frames [start, stop) read.
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
