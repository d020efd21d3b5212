"""Ways to run the encoders and decoders of a model, with one protocol: `Coder`.

A family describes each direction of its model as a `Coding`. A coder runs it: `WholeCoder` on the whole signal,
`ChunkedCoder` in chunks, and `FusedCoder` (in its own file) on compiled kernels or folded weights.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hf_audio_vae.audio.framing import frame_count, pad_to_frames
from hf_audio_vae.modules.stack import Stack, is_recurrent, layers_of
from hf_audio_vae.runtime.chunking import (
    Frames,
    decode_in_chunks,
    default_chunk_frames,
    encode_in_chunks,
    encoded_chunks,
    even_chunk_frames,
    frames_of,
)
from hf_audio_vae.runtime.forking import survive_forks

GPU_CHUNK_SECONDS = 30.0  # keeps a GPU busy; Stable Audio Open's decoder then needs 3.7 GiB in float32


def identity(x: Any) -> Any:
    """Return the input."""
    return x


@dataclass(frozen=True)
class Coding:
    """One direction of an autoencoder: a network over time, between functions of single frames.

    Frames are one tensor, or a sequence of levels with rates that are multiples of the last level's.

    Args:
        network (`torch.nn.Module`): Encoder or decoder with an `input_span`. A `Stack` can also be fused and
            streamed, and may have RNNs at the frame rate.
        hop_length (`int`): Samples per frame.
        before (`Callable`): Function of the frames before a decoder, such as the lookup of codes.
        after (`Callable`): Function of the frames after an encoder, such as quantization.
        rate (`int`): Outputs of an encoder's network per frame.
    """

    network: nn.Module
    hop_length: int
    before: Callable[..., Any] = identity
    after: Callable[..., Any] = identity
    rate: int = 1

    def __call__(self, x: Frames) -> Any:
        """Run the network and the functions around it; `ValueError` if only the input is on the meta device."""
        inputs = [x] if isinstance(x, Tensor) else x
        layers = layers_of(self.network) or (self.network,)
        device = next((weight.device for layer in layers for weight in layer.parameters()), torch.device("meta"))
        if device.type != "meta" and any(values.device.type == "meta" for values in inputs):
            raise ValueError(f"the input is on the device meta, which holds no values; use one on {device}.")
        return self.after(self.network(self.before(x)))

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, last) of inputs that the outputs [start, stop) depend on."""
        network: Any = self.network
        return network.input_span(start * self.rate, stop * self.rate)


@dataclass(frozen=True)
class Tiles:
    """The chunk lengths of a model, in frames of its coarsest level.

    Args:
        decodings (`Callable`): Returns the model's decoders; their spans determine the default.
        hop_length (`int`): Samples per frame of the coarsest level.
        frame_rate (`float`): Frames per second of the coarsest level, in Hz.
        frames (`int`, *optional*): Length of every chunk. If not given, a signal is split into the fewest chunks of
            equal length with at most `default` frames.
    """

    decodings: Callable[[], Sequence[Coding]]
    hop_length: int
    frame_rate: float
    frames: int | None = None

    def default(self) -> int:
        """Return the default maximum chunk length: at least twelve times the frames that a decoder reads for one.

        Raises:
            ValueError: Every output of a decoder depends on the whole signal.
        """
        decodings = self.decodings()
        frames = max(default_chunk_frames(c, c.hop_length, self.hop_length) for c in decodings)
        on_cpu = next(decodings[0].network.parameters()).device.type == "cpu"
        return frames if on_cpu else max(frames, math.ceil(GPU_CHUNK_SECONDS * self.frame_rate))

    def most(self) -> int:
        """Return the maximum number of frames per chunk."""
        return self.frames or self.default()

    def chunk_frames(self, frames: int, hop_length: int) -> int:
        """Return the length of the chunks of a signal, in frames of `hop_length`."""
        most = self.most() * (self.hop_length // hop_length)
        return most if self.frames or frames <= most else even_chunk_frames(frames, most)


class Coder(Protocol):
    """A way to run the encoders and decoders of a model."""

    @property
    def layers(self) -> "WholeCoder":
        """The coder that runs the model's own layers; may be this one."""

    def with_layers(self, layers: "WholeCoder") -> "Coder":
        """Return this coder with `layers` to run the model's own layers."""

    def network(self, network: nn.Module) -> nn.Module:
        """Return the form of an encoder or decoder that this coder runs."""

    def encode(self, coding: Coding, waveform: Tensor) -> Any:
        """Encode a waveform, padded with zeros to a whole frame; (batch, in, time) -> (batch, out, frames)."""

    def encode_pieces(self, coding: Coding, read: Callable[[int, int], Tensor], time: int) -> Iterator[Any]:
        """Yield the frames of the signal that `read(start, stop)` returns, in pieces; (batch, out, frames)."""

    def decode(self, coding: Coding, frames: Frames) -> Tensor:
        """(batch, in, frames) -> (batch, out, frames * hop_length)."""


class WholeCoder:
    """Runs the layers on the whole signal."""

    chunked = False

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles

    @property
    def layers(self) -> "WholeCoder":
        """This coder."""
        return self

    def with_layers(self, layers: "WholeCoder") -> Coder:
        """Return `layers`."""
        return layers

    def network(self, network: nn.Module) -> nn.Module:
        """Return the network itself."""
        return network

    def encode(self, coding: Coding, waveform: Tensor) -> Any:
        """As `Coder`."""
        survive_forks()
        return coding(pad_to_frames(waveform, coding.hop_length))

    def encode_pieces(self, coding: Coding, read: Callable[[int, int], Tensor], time: int) -> Iterator[Any]:
        """As `Coder`; pieces are always encoded in chunks."""
        survive_forks()
        chunk = self.piece_frames(coding, time)
        return encoded_chunks(coding, read, time, coding.hop_length, chunk)

    def piece_frames(self, coding: Coding, time: int) -> int:
        """Return the maximum number of frames per piece."""
        frames = frame_count(time, coding.hop_length)
        return self.tiles.chunk_frames(frames, coding.hop_length)

    def decode(self, coding: Coding, frames: Frames) -> Tensor:
        """As `Coder`."""
        survive_forks()
        return coding(frames)


class ChunkedCoder(WholeCoder):
    """Runs the layers in chunks, with the same result; memory does not grow with the signal.

    An RNN depends on all earlier frames, so it runs over all frames at once.
    """

    chunked = True

    def encode(self, coding: Coding, waveform: Tensor) -> Any:
        """As `Coder`."""
        survive_forks()
        hop_length = coding.hop_length
        frames = frame_count(waveform.shape[-1], hop_length)
        chunk = self.tiles.chunk_frames(frames, hop_length)
        if frames <= chunk:
            return super().encode(coding, waveform)
        convolutions, rest = _split(coding.network, first=True)
        if rest is None:
            return encode_in_chunks(coding, waveform, hop_length, chunk)
        before = replace(coding, network=convolutions, after=identity)
        return coding.after(rest(encode_in_chunks(before, waveform, hop_length, chunk)))

    def decode(self, coding: Coding, frames: Frames) -> Tensor:
        """As `Coder`."""
        survive_forks()
        hop_length, count = coding.hop_length, frames_of(frames)
        chunk = self.tiles.chunk_frames(count, hop_length)
        if count <= chunk:
            return super().decode(coding, frames)
        convolutions, rest = _split(coding.network, first=False)
        if rest is None:
            return decode_in_chunks(coding, frames, hop_length, chunk)
        after = replace(coding, network=convolutions, before=identity)
        return decode_in_chunks(after, rest(coding.before(frames)), hop_length, chunk)


class LayerRange(Stack):
    """A range of a network's layers; they stay registered only in the network."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self._range = tuple(layers)  # a tuple does not register them here

    def layers(self) -> tuple[nn.Module, ...]:
        return self._range


def _split(network: nn.Module, *, first: bool) -> tuple[nn.Module, nn.Module | None]:
    """Split a network at its first or last RNN; return the layers without RNN, and the rest if there is one."""
    layers = layers_of(network) or ()
    recurrent = [index for index, layer in enumerate(layers) if is_recurrent(layer)]
    if not recurrent:
        return network, None
    if first:
        return LayerRange(layers[: recurrent[0]]), LayerRange(layers[recurrent[0] :])
    return LayerRange(layers[recurrent[-1] + 1 :]), LayerRange(layers[: recurrent[-1] + 1])
