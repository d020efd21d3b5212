"""Opus, MP3 and Vorbis as anchors: libsndfile codes and decodes a waveform at a bitrate."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import soundfile
import torch
from torch import Tensor

OPUS_LOWEST, OPUS_HIGHEST = 6000, 256000  # bits per second and channel, at libsndfile's compression levels 1 and 0
OPUS_SAMPLING_RATES = (8000, 12000, 16000, 24000, 48000)  # Hz, RFC 6716 section 2
MP3_SAMPLING_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
MP3_CHANNELS = 2
HIGHEST_LEVEL = {"MP3": 0.999, "OGG": 1.0}  # libsndfile refuses 1 for MP3
SEARCH_STEPS = 7  # halvings of the interval of compression levels


class UncodableError(ValueError):
    """A waveform that a codec or a model cannot code; it can code others."""


@dataclass(frozen=True)
class Lossy:
    """A decoded waveform (audio_channels, time), and its bits per second.

    The bits of all channels are counted from the bytes of the file without its headers. In Ogg files, about 4 % of
    them belong to the pages of the container.
    """

    waveform: Tensor
    bits_per_second: float


def opus(waveform: Tensor, sampling_rate: int, bits_per_second: int) -> Lossy:
    """Code a waveform with libopus and decode it.

    Args:
        waveform (`torch.Tensor` of shape `(audio_channels, time)`): Signal, any time >= 1; values beyond [-1, 1] are
            clipped.
        sampling_rate (`int`): One of `OPUS_SAMPLING_RATES`, in Hz.
        bits_per_second (`int`): Target bitrate of all channels. The result has the measured bitrate.

    Raises:
        ValueError: The sampling rate is not supported, or the bitrate is out of range.
        UncodableError: The codec cannot code this waveform.
    """
    _check_rate("Opus", sampling_rate, OPUS_SAMPLING_RATES)
    share = bits_per_second / waveform.shape[0]
    if not OPUS_LOWEST <= share <= OPUS_HIGHEST:
        lowest, highest = (bound * waveform.shape[0] for bound in (OPUS_LOWEST, OPUS_HIGHEST))
        raise ValueError(
            f"`bits_per_second` is {bits_per_second}; Opus has {lowest} to {highest} for {waveform.shape[0]} channels."
        )
    level = (OPUS_HIGHEST - share) / (OPUS_HIGHEST - OPUS_LOWEST)
    return _coded(waveform, sampling_rate, "OGG", "OPUS", level)


def mp3(waveform: Tensor, sampling_rate: int, bits_per_second: int) -> Lossy:
    """Code a waveform with LAME, at the average bitrate nearest to a target, and decode it; see `opus`."""
    _check_rate("MP3", sampling_rate, MP3_SAMPLING_RATES)
    if waveform.shape[0] > MP3_CHANNELS:
        raise ValueError(f"MP3 has at most {MP3_CHANNELS} channels, not {waveform.shape[0]}; name another codec.")
    return _near(waveform, sampling_rate, "MP3", "MPEG_LAYER_III", bits_per_second)


def vorbis(waveform: Tensor, sampling_rate: int, bits_per_second: int) -> Lossy:
    """Code a waveform with libvorbis, at the quality nearest to a target bitrate, and decode it; see `opus`."""
    return _near(waveform, sampling_rate, "OGG", "VORBIS", bits_per_second)


LOSSY: dict[str, Callable[[Tensor, int, int], Lossy]] = {"opus": opus, "mp3": mp3, "vorbis": vorbis}


def _near(waveform: Tensor, sampling_rate: int, format: str, subtype: str, bits_per_second: int) -> Lossy:
    """Code at the compression level whose bitrate is nearest to a target. The level is found by bisection."""
    low, high = 0.0, HIGHEST_LEVEL[format]
    found = [_coded(waveform, sampling_rate, format, subtype, level) for level in (low, high)]
    for _ in range(SEARCH_STEPS):
        middle = (low + high) / 2
        found.append(_coded(waveform, sampling_rate, format, subtype, middle))
        low, high = (middle, high) if found[-1].bits_per_second > bits_per_second else (low, middle)
    return min(found, key=lambda coded: abs(coded.bits_per_second - bits_per_second))


def _coded(waveform: Tensor, sampling_rate: int, format: str, subtype: str, level: float) -> Lossy:
    whole, headers = (_encoded(part, sampling_rate, format, subtype, level) for part in (waveform, waveform[:, :0]))
    try:
        decoded, _ = soundfile.read(io.BytesIO(whole), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _uncodable(waveform, sampling_rate, subtype, error) from error
    rate = 8 * (len(whole) - len(headers)) * sampling_rate / waveform.shape[-1]
    return Lossy(torch.from_numpy(decoded.T.copy())[:, : waveform.shape[-1]], rate)


def _encoded(waveform: Tensor, sampling_rate: int, format: str, subtype: str, level: float) -> bytes:
    file, samples = io.BytesIO(), waveform.clamp(-1, 1).T.numpy()
    mode = "AVERAGE" if format == "MP3" else None  # the decoder trims the padding of averaged files exactly
    try:
        soundfile.write(
            file, samples, sampling_rate, format=format, subtype=subtype, compression_level=level, bitrate_mode=mode
        )
    except soundfile.LibsndfileError as error:
        raise _uncodable(waveform, sampling_rate, subtype, error) from error
    return file.getvalue()


def _uncodable(waveform: Tensor, sampling_rate: int, subtype: str, error: soundfile.LibsndfileError) -> UncodableError:
    channels, time = waveform.shape
    return UncodableError(
        f"{subtype} cannot code {time} samples of {channels} channels at {sampling_rate} Hz ({error.error_string}) "
        f"Name another codec, or leave the sound out."
    )


def _check_rate(name: str, sampling_rate: int, rates: tuple[int, ...]) -> None:
    if sampling_rate not in rates:
        raise ValueError(f"{name} has no sampling rate of {sampling_rate} Hz; resample to one of {rates}.")
