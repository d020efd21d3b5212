"""Exact coding of long signals in chunks: each window holds all that its chunk's outputs read, computed from layers.

Layers at a window's edge see zeros where the signal goes on, but no output that is kept depends on them. At the true
ends of the signal a window ends there too, so its zeros are the ones the whole-signal pass pads.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from torch import Tensor

from hf_audio_vae.audio.framing import frame_count, pad_to_frames


class SpannedModule(Protocol):
    """A network over time that knows which inputs its outputs [start, stop) read."""

    def __call__(self, x: Tensor) -> Tensor:
        """Run the network."""

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first input and the one past the last that the outputs [start, stop) depend on."""


def encode_in_chunks(encoder: SpannedModule, x: Tensor, hop_length: int, chunk_frames: int) -> Tensor:
    """Return ``encoder(x)``, `chunk_frames` at a time; (batch, in, time) -> (batch, out, frames).

    Zeros continue `x` up to a whole frame, in its last window alone: a long signal is never copied.
    """

    def window(start: int, stop: int) -> tuple[int, int]:
        first, last = encoder.input_span(start, stop)  # samples
        return first // hop_length, -(-last // hop_length)

    def encode(samples: Tensor) -> Tensor:
        return encoder(pad_to_frames(samples, hop_length))

    frames = frame_count(x.shape[-1], hop_length)
    return _run(encode, x, frames, chunk_frames, window, samples_in=hop_length, samples_out=1)


def decode_in_chunks(decoder: SpannedModule, z: Tensor, hop_length: int, chunk_frames: int) -> Tensor:
    """Return ``decoder(z)``, computed `chunk_frames` at a time; (batch, in, frames) -> (batch, out, frames * hop)."""

    def window(start: int, stop: int) -> tuple[int, int]:
        return decoder.input_span(start * hop_length, stop * hop_length)

    return _run(decoder, z, z.shape[-1], chunk_frames, window, samples_in=1, samples_out=hop_length)


def _run(
    module: Callable[[Tensor], Tensor],
    x: Tensor,
    frames: int,
    chunk_frames: int,
    window: Callable[[int, int], tuple[int, int]],
    *,
    samples_in: int,
    samples_out: int,
) -> Tensor:
    for start, stop in _chunks(frames, chunk_frames):
        first, last = window(start, stop)
        first, last = max(first, 0), min(last, frames)
        y = module(x[..., first * samples_in : last * samples_in])
        if start == 0:
            output = y.new_empty(*y.shape[:-1], frames * samples_out)
        kept = y[..., (start - first) * samples_out : (stop - first) * samples_out]
        output[..., start * samples_out : stop * samples_out] = kept
    return output


def _chunks(frames: int, chunk_frames: int) -> Iterator[tuple[int, int]]:
    for start in range(0, frames, chunk_frames):
        yield start, min(start + chunk_frames, frames)
