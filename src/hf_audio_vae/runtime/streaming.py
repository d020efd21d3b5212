"""Streaming encoders and decoders of waveforms, and their latency."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.modules.finite import check_output
from hf_audio_vae.modules.stack import layers_of
from hf_audio_vae.runtime.chunking import FAR
from hf_audio_vae.runtime.coders import Coding, identity
from hf_audio_vae.runtime.incremental import stream_of
from hf_audio_vae.runtime.streams import Chain, Pointwise, Stream

Output = TypeVar("Output")


@dataclass(frozen=True)
class AlgorithmicLatency:
    """Algorithmic delay in samples, without computing time.

    All numbers are in samples and include the first sample. The first output needs `start` samples. If padding mirrors
    the start of the signal, `start` exceeds `total`, and the other numbers hold only after these samples.

    Args:
        encoder (`int`): Maximum delay from the first sample of a frame until its latents or codes are determined.
        decoder (`int`): Maximum distance from a decoded sample to the end of the last frame that it depends on.
        total (`int`): Maximum delay from an input sample until its reconstruction is determined.
        start (`int`): Delay from the start of the signal until the reconstruction of the first sample is determined.
        sampling_rate (`int`): Samples per second, in Hz.
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
    """A streaming encoder or decoder with the state of one signal; `model.streaming()` makes it.

    Its concatenated outputs equal those for the whole signal within rounding, for pieces of any length. It records no
    gradients, uses torch's layers even if the model is fused, and has a copy of the weights that does not follow the
    model.

    Args:
        stream (`Stream`): The network, with the functions before and after it.
        check (`Callable[[torch.Tensor], None]`): Raises `ValueError` for an invalid piece that is not empty.
        wrap (`Callable[[torch.Tensor], Output]`): Converts the network's output to the public output.
        pad_multiple (`int`): `flush` pads the signal with zeros to a multiple of this length.
        dtype (`torch.dtype`, *optional*): Dtype of the network, for pieces of another float dtype.
    """

    def __init__(
        self,
        stream: Stream,
        check: Callable[[Tensor], None],
        wrap: Callable[[Tensor], Output],
        pad_multiple: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._stream, self._check, self._wrap, self._pad_multiple = stream, check, wrap, pad_multiple
        self._dtype = dtype
        self.reset()

    def reset(self) -> None:
        """Start a new signal."""
        self._stream.reset()
        self._pushed = 0
        self._empty: Tensor | None = None  # a piece of length 0, with the other sizes and the dtype of the signal
        self._flushed = False

    @torch.no_grad()
    def push(self, x: Tensor) -> Output:
        """Push the next piece and return the outputs that it determines.

        Args:
            x (`torch.Tensor`): Waveform (batch, audio_channels, n) in [-1, 1], latents (batch, latent_channels, n) or
                codes (batch, num_codebooks, n), as the model's `encode` or `decode` takes them; n may be 0.

        Returns:
            The next frames (`DiagonalGaussian` or codes) or samples (batch, audio_channels, m); possibly none.

        Raises:
            ValueError: As `encode` or `decode`; the batch size, channels or dtype changed within the signal; or the
                signal has ended.
        """
        if self._flushed:
            raise ValueError("the signal has ended with `flush()`; call `reset()` before the next one is pushed.")
        if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[-1]:
            self._check(x)
        else:
            self._check(F.pad(x, (0, 1)))
        if self._empty is None:
            self._empty = x.new_empty(*x.shape[:2], 0)
        if (x.shape[:2], x.dtype) != (self._empty.shape[:2], self._empty.dtype):
            raise ValueError(
                f"the piece is {tuple(x.shape)}, {x.dtype}, earlier pieces are {(*self._empty.shape[:2], '...')}, "
                f"{self._empty.dtype}; keep them equal within a signal, and call `reset()` between signals."
            )
        self._pushed += x.shape[-1]
        return self._push(x)

    @torch.no_grad()
    def flush(self) -> Output:
        """End the signal and return its remaining outputs; a waveform is padded with zeros to a whole frame.

        Raises:
            ValueError: Nothing was pushed, or the signal has already ended.
        """
        if self._empty is None or self._flushed:
            raise ValueError("there is no signal to end; `push` one first, after `reset()` if another has ended.")
        self._flushed = True
        rest = self._empty.new_zeros(*self._empty.shape[:2], -self._pushed % self._pad_multiple)
        return self._push(rest, last=True)

    def _push(self, x: Tensor, *, last: bool = False) -> Output:
        output = self._stream.push(x.to(self._dtype) if x.is_floating_point() else x, last=last)
        if output.is_floating_point():
            check_output(output, "outputs")
        return self._wrap(output)


@dataclass(frozen=True)
class Streaming(Generic[Output]):
    """The streaming encoder and decoder of a model, each with its own state.

    Args:
        encoder (`StreamingCoder[Output]`): Waveform in, `DiagonalGaussian` or codes out.
        decoder (`StreamingCoder[torch.Tensor]`): Latents or codes in, waveform out.
        latency (`AlgorithmicLatency`): Latency of both together.
    """

    encoder: StreamingCoder[Output]
    decoder: StreamingCoder[Tensor]
    latency: AlgorithmicLatency


def latency_of(encoding: Coding, decoding: Coding, *, sampling_rate: int) -> AlgorithmicLatency:
    """Return the latency of an autoencoder from the input spans of its encoder and decoder.

    An LSTM reads only earlier inputs. It adds no latency and is not part of the spans.

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
    pad_multiple: int,
    sampling_rate: int,
    dtype: torch.dtype,
) -> Streaming[Output]:
    """Make a streaming encoder and decoder with a copy of the weights.

    Args:
        encoding (`Coding`): From a waveform to frames.
        decoding (`Coding`): From frames to a waveform.
        check_waveform (`Callable`): Raises `ValueError` for an invalid piece of a waveform.
        check_frames (`Callable`): Raises `ValueError` for an invalid piece of frames.
        wrap (`Callable`): Converts the output of `encoding` to the public output.
        pad_multiple (`int`): A waveform is padded with zeros to a multiple of this many samples.
        sampling_rate (`int`): Samples per second, in Hz.
        dtype (`torch.dtype`): Dtype of the networks.

    Raises:
        ValueError: An output depends on the whole signal, a layer has no streaming form, or hooks hold the weights.
    """
    for network in (encoding.network, decoding.network):
        layers = layers_of(network) or (network,)
        if any(weight.is_meta for layer in layers for weight in layer.parameters()):
            raise ValueError(
                "the weights are offloaded, so that they cannot be copied; load the model without offloading, or move "
                "it as a whole."
            )
    latency = latency_of(encoding, decoding, sampling_rate=sampling_rate)
    after, before = copy.deepcopy((encoding.after, decoding.before))
    encoder = Chain((stream_of(encoding.network), Pointwise(after)))
    decoder = Chain((Pointwise(before), stream_of(decoding.network)))
    return Streaming(
        StreamingCoder(encoder, check_waveform, wrap, pad_multiple=pad_multiple, dtype=dtype),
        StreamingCoder(decoder, check_frames, identity, dtype=dtype),
        latency,
    )
