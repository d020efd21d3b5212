"""Code signals of any length block by block, for every family; the results are those of the whole signal."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hf_audio_vae.audio.framing import frame_count
from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.modules.stack import is_recurrent
from hf_audio_vae.runtime.chunking import Frames, decoded_chunks, encoded_chunks
from hf_audio_vae.runtime.coders import Coding

BLOCK_SECONDS = 20.0

Read = Callable[[int, int], Tensor]


def needs_whole_signal(model: AudioAutoencoderMixin) -> bool:
    """Whether outputs depend on the whole signal, because of an RNN, a norm over time, the loudness or a vocoder."""
    if encoding_needs_whole_signal(model) or model.decodes_whole_signals:
        return True
    return _depends_on_all(model.decodings(), lambda: _decoder_span(model, 0, 1))


def encoding_needs_whole_signal(model: AudioAutoencoderMixin) -> bool:
    """Whether latents or codes depend on the whole signal, because of an RNN, a norm over time or the loudness."""
    return model.codes_need_scales or _depends_on_all(model.encodings(), lambda: _encoder_span(model, 0, 1))


def encode_blocks(model: AudioAutoencoderMixin, read: Read, time: int) -> Iterator[list[Tensor]]:
    """Encode a signal; yield mean and standard deviation of the posterior, or the codes of each level.

    Args:
        model (`AudioAutoencoderMixin`): Model whose encoding does not need the whole signal.
        read (`Callable`): ``read(start, stop)`` returns these samples, (batch, audio_channels, stop - start).
        time (`int`): Length in samples.
    """

    def encode(waveform: Tensor) -> list[Tensor]:
        output: Any = model.encode(waveform)
        if not model.codebook_sizes:
            return [output.latent_dist.mean, output.latent_dist.std]
        return list(output.audio_codes) if model.codes_by_level else [output.audio_codes]

    network = _Spanned(encode, lambda start, stop: _encoder_span(model, start, stop))
    for block in encoded_chunks(network, read, time, model.hop_length, _block_frames(model)):
        yield list(block)


def reconstruct_blocks(model: AudioAutoencoderMixin, read: Read, time: int) -> Iterator[Tensor]:
    """Encode and decode a signal; yield (batch, audio_channels, time) in order. Arguments as `encode_blocks`."""
    if needs_whole_signal(model):
        yield model(read(0, time)).sample
        return
    network = _Spanned(lambda waveform: model(waveform).sample, lambda *frames: _reconstruction_span(model, *frames))
    left = time
    block: Any
    for block in encoded_chunks(network, read, time, model.hop_length, _block_frames(model)):
        yield block[..., :left]
        left -= block.shape[-1]


def decode_blocks(model: AudioAutoencoderMixin, decode: Callable[[Any], Tensor], frames: Frames) -> Iterator[Tensor]:
    """Decode latents, codes, or the codes of all levels; yield (batch, audio_channels, time) in order.

    Args:
        model (`AudioAutoencoderMixin`): Model of `decode`.
        decode (`Callable`): Decodes frames, (batch, channels, frames), or levels of them.
        frames (`torch.Tensor` or a sequence of them): Latents or codes.
    """
    if needs_whole_signal(model):
        yield decode(frames)
        return
    hop = model.hop_length
    network = _Spanned(decode, lambda start, stop: _decoder_span(model, start // hop, stop // hop))
    blocks: Any = decoded_chunks(network, frames, hop, _block_frames(model))
    yield from blocks


@dataclass(frozen=True)
class _Spanned:
    """A function over time with the span of its inputs."""

    function: Callable[[Any], Any]
    input_span: Callable[[int, int], tuple[int, int]]

    def __call__(self, x: Any) -> Any:
        return self.function(x)


def _depends_on_all(codings: Iterable[Coding], span: Callable[[], object]) -> bool:
    """Whether a network has an RNN, or no limited span of inputs."""
    try:
        span()
    except ValueError:
        return True
    return any(is_recurrent(coding.network) for coding in codings)


def _block_frames(model: AudioAutoencoderMixin) -> int:
    return math.ceil(BLOCK_SECONDS * model.frame_rate)


def _encoder_span(model: AudioAutoencoderMixin, start: int, stop: int) -> tuple[int, int]:
    """Return the samples that the frames [start, stop) read."""
    spans = []
    for coding in model.encodings():
        ratio = model.hop_length // coding.hop_length
        spans.append(coding.input_span(start * ratio, stop * ratio))
    return min(first for first, _ in spans), max(last for _, last in spans)


def _decoder_span(model: AudioAutoencoderMixin, start: int, stop: int) -> tuple[int, int]:
    """Return the frames that the samples of the frames [start, stop) read."""
    hop, spans = model.hop_length, []
    for coding in model.decodings():
        first, last = coding.input_span(start * hop, stop * hop)
        ratio = hop // coding.hop_length
        spans.append((first // ratio, frame_count(last, ratio)))
    return min(first for first, _ in spans), max(last for _, last in spans)


def _reconstruction_span(model: AudioAutoencoderMixin, start: int, stop: int) -> tuple[int, int]:
    """Return the samples that the reconstruction of the frames [start, stop) reads."""
    return _encoder_span(model, *_decoder_span(model, start, stop))
