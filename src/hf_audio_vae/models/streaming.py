"""Waveforms encoded and decoded while they come in, and after how many samples."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.models.inputs import check_codes, check_latents, check_waveform
from hf_audio_vae.modules.chunking import FAR, SpannedModule, span_through
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.modules.quantization import Quantizer
from hf_audio_vae.modules.streaming import Chain, Pointwise, Stream, stream_of

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


def latency_of(
    encoder: Iterable[SpannedModule], decoder: Iterable[SpannedModule], *, hop_length: int, sampling_rate: int
) -> AlgorithmicLatency:
    """Return the latency of layers from samples to frames, and of layers back, each of which knows its span.

    An LSTM, which reads the past alone, is in no span and changes no latency.
    """
    times = range(FAR * hop_length, (FAR + 1) * hop_length)
    ends = [span_through(decoder, t, t + 1)[1] - FAR for t in times]  # frames
    known = {end: span_through(encoder, FAR + end - 1, FAR + end)[1] - times.start for end in {1, *ends}}
    return AlgorithmicLatency(
        encoder=known[1],
        decoder=max(end * hop_length - t for t, end in enumerate(ends)),
        total=max(known[end] - t for t, end in enumerate(ends)),
        start=span_through(encoder, 0, span_through(decoder, 0, 1)[1])[1],
        sampling_rate=sampling_rate,
    )


def _check_streamable(config: Any) -> None:
    if config.norm == "time_group_norm":
        raise ValueError(
            '`norm="time_group_norm"` makes every output depend on the whole signal, which is known only at its end; '
            "encode and decode the signal as a whole, or use a model with weight norm."
        )
    if config.normalize:
        raise ValueError(
            "`normalize=True` divides a waveform by the loudness of all of it, which is known only at its end; encode "
            "and decode the signal as a whole, or use a model with `normalize=False`."
        )


def unchanged(x: Tensor) -> Tensor:
    """Return codes or a waveform as the network gives them."""
    return x


class _Coder(Protocol):
    """What the mixins read of a model."""

    config: Any
    encoder: Any
    decoder: Any

    @property
    def hop_length(self) -> int: ...

    @property
    def sampling_rate(self) -> int: ...

    @property
    def algorithmic_latency(self) -> AlgorithmicLatency: ...


class _CodebookCoder(_Coder, Protocol):
    quantizer: Quantizer

    @property
    def codebook_sizes(self) -> tuple[int, ...]: ...


def streaming_vae(model: _Coder) -> Streaming[DiagonalGaussian]:
    """Return what `streaming` of a model with a posterior over latents does."""
    encoder = StreamingCoder(
        stream_of(model.encoder),
        partial(check_waveform, audio_channels=model.config.audio_channels),
        DiagonalGaussian.from_parameters,
        unit=model.hop_length,
    )
    check = partial(check_latents, latent_channels=model.config.decoder_input_channels)
    return Streaming(encoder, StreamingCoder(stream_of(model.decoder), check, unchanged), model.algorithmic_latency)


class StreamingVQVAEMixin:
    """Streaming of a model with codes."""

    @property
    def algorithmic_latency(self: _CodebookCoder) -> AlgorithmicLatency:
        """Samples until a sample's codes and its reconstruction are determined, from the layers' spans.

        Raises:
            ValueError: An output of the model depends on the whole signal.
        """
        _check_streamable(self.config)
        layers = (self.encoder,), (self.decoder,)
        return latency_of(*layers, hop_length=self.hop_length, sampling_rate=self.sampling_rate)

    def streaming(self: _CodebookCoder, num_codebooks: int | None = None) -> Streaming[Tensor]:
        """Return an encoder and a decoder for a signal that comes in pieces, with a copy of the weights.

        Their outputs, concatenated, are those of `encode` and `decode` within rounding, whatever the pieces. Each is
        computed once, as soon as it is determined; what is kept for later ones does not grow.

        Args:
            num_codebooks (`int`, *optional*): How many of the codebooks to encode with, the first ones; all, if not
                given.

        Raises:
            ValueError: An output of the model depends on the whole signal, or there are not so many codebooks.

        Example:
            >>> from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
            >>> config = WaveformVQVAEConfig(encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=(2, 5),
            ...     hidden_size=16, num_codebooks=3, codebook_size=64, causal=True)
            >>> model = WaveformVQVAE(config).eval()
            >>> streaming = model.streaming()
            >>> codes = streaming.encoder.push(torch.randn(1, 1, 25))
            >>> codes.shape, streaming.decoder.push(codes).shape, streaming.encoder.flush().shape
            (torch.Size([1, 3, 2]), torch.Size([1, 1, 20]), torch.Size([1, 3, 1]))
        """
        _check_streamable(self.config)
        count = self.quantizer.checked_count(num_codebooks)
        quantizer = copy.deepcopy(self.quantizer)
        encoder = StreamingCoder(
            Chain((stream_of(self.encoder), Pointwise(partial(quantizer.encode, num_codebooks=count)))),
            partial(check_waveform, audio_channels=self.config.audio_channels),
            unchanged,
            unit=self.hop_length,
        )
        decoder = StreamingCoder(
            Chain((Pointwise(quantizer.decode), stream_of(self.decoder))),
            partial(check_codes, codebook_sizes=self.codebook_sizes),
            unchanged,
        )
        return Streaming(encoder, decoder, self.algorithmic_latency)
