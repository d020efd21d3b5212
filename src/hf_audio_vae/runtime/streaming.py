"""Waveforms encoded and decoded while they come in, and after how many samples."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.runtime.chunking import FAR
from hf_audio_vae.runtime.coders import Coding, identity
from hf_audio_vae.runtime.incremental import Chain, Pointwise, Stream, stream_of

Output = TypeVar("Output")


@dataclass(frozen=True)
class AlgorithmicLatency:
    """Algorithmic delay in samples, without computing time.

    Each number counts from a sample on, itself included. Until the first `start` samples are known, nothing comes out;
    where padding mirrors the start of the signal, they are more than `total`, and the other numbers hold after them.

    Args:
        encoder (`int`): Most samples from the first one of a frame on until its latents or codes are determined.
        decoder (`int`): Most samples from a decoded one on to the end of the last frame that it is determined by.
        total (`int`): Most samples from one on until its reconstruction is determined.
        start (`int`): Samples from the signal's first one on until its reconstruction is determined.
        sampling_rate (`int`): Samples a second, in Hz.
    """

    encoder: int
    decoder: int
    total: int
    start: int
    sampling_rate: int

    @property
    def seconds(self) -> float:
        """`total`, in seconds."""
        return self.total / self.sampling_rate


class StreamingCoder(Generic[Output]):
    """An encoder or a decoder in the middle of a signal; `model.streaming()` makes it.

    Concatenated, its outputs are those of the whole signal within rounding, whatever the pieces. No gradients; torch's
    layers even if the model is fused, and a copy of the weights: it does not follow the model.

    Args:
        stream (`Stream`): The network, with what is done before it and after it.
        check (`Callable[[torch.Tensor], None]`): Raises `ValueError` for a wrong piece of one sample or frame or more.
        wrap (`Callable[[torch.Tensor], Output]`): Makes the public output of the network's.
        unit (`int`): Zeros continue a signal up to a multiple of so many.
    """

    def __init__(
        self,
        stream: Stream,
        check: Callable[[Tensor], None],
        wrap: Callable[[Tensor], Output],
        unit: int = 1,
    ) -> None:
        self._stream, self._check, self._wrap, self._unit = stream, check, wrap, unit
        self.reset()

    def reset(self) -> None:
        """Begin a new signal."""
        self._stream.reset()
        self._pushed = 0
        self._empty: Tensor | None = None  # a piece of 0, with the signal's other sizes
        self._flushed = False

    @torch.no_grad()
    def push(self, x: Tensor) -> Output:
        """Take the next piece and return what it determines.

        Args:
            x (`torch.Tensor`): Waveform (batch, audio_channels, n) in [-1, 1], latents (batch, latent_channels, n) or
                codes (batch, num_codebooks, n), as the model's `encode` or `decode` takes them; n may be 0.

        Returns:
            The next frames, `DiagonalGaussian` or codes, or the next samples (batch, audio_channels, m); perhaps none.

        Raises:
            ValueError: As `encode` or `decode`; another batch, number of channels or dtype than before; or the signal
                has ended.
        """
        if self._flushed:
            raise ValueError("the signal has ended with `flush()`; call `reset()` before the next one is pushed.")
        if x.ndim != 3 or x.shape[-1]:
            self._check(x)
        else:
            self._check(F.pad(x, (0, 1)))
        if self._empty is None:
            self._empty = x.new_empty(*x.shape[:2], 0)
        if (x.shape[:2], x.dtype) != (self._empty.shape[:2], self._empty.dtype):
            raise ValueError(
                f"the piece is {tuple(x.shape)}, {x.dtype}, those before were {(*self._empty.shape[:2], '...')}, "
                f"{self._empty.dtype}; keep them equal within a signal, and call `reset()` between signals."
            )
        self._pushed += x.shape[-1]
        return self._wrap(self._stream.push(x))

    @torch.no_grad()
    def flush(self) -> Output:
        """End the signal and return the rest of its outputs; zeros continue a waveform up to a whole frame.

        Raises:
            ValueError: Nothing was pushed, or the signal has already ended.
        """
        if self._empty is None or self._flushed:
            raise ValueError("there is no signal to end; `push` one first, after `reset()` if another has ended.")
        self._flushed = True
        rest = self._empty.new_zeros(*self._empty.shape[:2], -self._pushed % self._unit)
        return self._wrap(self._stream.push(rest, last=True))


@dataclass(frozen=True)
class Streaming(Generic[Output]):
    """A model's encoder and decoder for signals that come in pieces, each with a state of its own.

    Args:
        encoder (`StreamingCoder[Output]`): Waveform in, `DiagonalGaussian` or codes out.
        decoder (`StreamingCoder[torch.Tensor]`): Latents or codes in, waveform out.
        latency (`AlgorithmicLatency`): Of both.
    """

    encoder: StreamingCoder[Output]
    decoder: StreamingCoder[Tensor]
    latency: AlgorithmicLatency


def latency_of(encoding: Coding, decoding: Coding, *, sampling_rate: int) -> AlgorithmicLatency:
    """Return the latency of both directions of an autoencoder from the spans of their networks.

    An LSTM, which reads the past alone, is in no span and changes no latency.

    Raises:
        ValueError: An output depends on the whole signal.
    """
    hop_length = decoding.hop_length
    times = range(FAR * hop_length, (FAR + 1) * hop_length)
    ends = [decoding.input_span(t, t + 1)[1] - FAR for t in times]  # frames
    known = {end: encoding.input_span(FAR + end - 1, FAR + end)[1] - times.start for end in {1, *ends}}
    return AlgorithmicLatency(
        encoder=known[1],
        decoder=max(end * hop_length - t for t, end in enumerate(ends)),
        total=max(known[end] - t for t, end in enumerate(ends)),
        start=encoding.input_span(0, decoding.input_span(0, 1)[1])[1],
        sampling_rate=sampling_rate,
    )


def new_streaming(
    encoding: Coding,
    decoding: Coding,
    *,
    check_waveform: Callable[[Tensor], None],
    check_frames: Callable[[Tensor], None],
    wrap: Callable[[Tensor], Output],
    unit: int,
    sampling_rate: int,
) -> Streaming[Output]:
    """Make an encoder and a decoder for a signal that comes in pieces, with a copy of the weights.

    Args:
        encoding (`Coding`): From a waveform to frames.
        decoding (`Coding`): Back.
        check_waveform (`Callable`): Raises `ValueError` for a wrong piece of a waveform.
        check_frames (`Callable`): Raises `ValueError` for a wrong piece of frames.
        wrap (`Callable`): Makes the public output of an encoding's.
        unit (`int`): Zeros continue a waveform up to a multiple of so many samples.
        sampling_rate (`int`): Samples a second, in Hz.

    Raises:
        ValueError: An output depends on the whole signal, or a layer has no streaming form.
    """
    latency = latency_of(encoding, decoding, sampling_rate=sampling_rate)
    after, before = copy.deepcopy((encoding.after, decoding.before))
    encoder = Chain((stream_of(encoding.network), Pointwise(after)))
    decoder = Chain((Pointwise(before), stream_of(decoding.network)))
    return Streaming(
        StreamingCoder(encoder, check_waveform, wrap, unit=unit),
        StreamingCoder(decoder, check_frames, identity),
        latency,
    )
