import math
import warnings
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

# Minimum power: 1e-4 in magnitude, as in auraloss. It bounds every logarithm, ratio and gradient.
MIN_POWER = 1e-8
Parameters = ParamSpec("Parameters")


def stft(waveform: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """Short-time Fourier transform, centred, with reflection padding.

    Args:
        waveform (`torch.Tensor` of shape `(..., time)`): Any time >= 1; a signal shorter than the window is
            zero-padded to the window length.
        window (`torch.Tensor` of shape `(n_fft,)`): Analysis window.
        hop_length (`int`): Samples from one window to the next.

    Returns:
        complex `torch.Tensor` of shape `(..., n_fft // 2 + 1, 1 + time // hop_length)`.
    """
    n_fft = window.shape[0]
    flat = waveform.reshape(-1, waveform.shape[-1])
    flat = F.pad(flat, (0, max(n_fft - flat.shape[-1], 0)))
    spectrum = torch.stft(flat, n_fft, hop_length, window=window, return_complex=True)
    return spectrum.reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def magnitude(spectrum: Tensor, min_power: float = MIN_POWER, gain: Tensor | None = None) -> Tensor:
    """Absolute value times `gain`, at least ``sqrt(min_power)``; the gradient is zero below, so finite on silence."""
    # The backward pass of `spectrum.real` adds two zero-filled tensors; that of `view_as_real` only stacks.
    real, imaginary = torch.view_as_real(spectrum).unbind(dim=-1)
    power = real.square() + imaginary.square()
    if gain is not None:
        power = power * gain.square()
    return power.clamp(min=min_power).sqrt()


CPU = torch.device("cpu")


def cached_constant(function: Callable[Parameters, Tensor]) -> Callable[Parameters, Tensor]:
    """Cache the tensor that a function computes from its arguments.

    `torch.compile` and `torch.export` trace with tensors that have no values, so these are not cached.
    """
    cache: Any = lru_cache(maxsize=128)  # its type forgets the arguments
    cached: Callable[Parameters, Tensor] = cache(function)

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Tensor:
        return (function if torch.compiler.is_compiling() else cached)(*args, **kwargs)

    return call


@cached_constant
def hann_window(length: int, device: torch.device = CPU) -> Tensor:
    """Periodic Hann window, (length,). Cached and shared: do not modify it."""
    with torch.inference_mode(False):
        return torch.hann_window(length, device=device)


@cached_constant
def mel_filters(
    n_mels: int,
    n_fft: int,
    sampling_rate: int,
    min_frequency_hz: float = 0.0,
    max_frequency_hz: float | None = None,
    *,
    device: torch.device = CPU,
) -> Tensor:
    """Triangular filters of equal area on the Slaney mel scale (librosa's default).

    Args:
        n_mels (`int`): Number of filters.
        n_fft (`int`): Transform length.
        sampling_rate (`int`): Sampling rate in Hz.
        min_frequency_hz (`float`): Lower end of the first filter.
        max_frequency_hz (`float`, *optional*): Upper end of the last filter; half the sampling rate if not given.
        device (`torch.device`): Device of the filters.

    Returns:
        `torch.Tensor` of shape `(n_mels, n_fft // 2 + 1)`, cached and shared: do not modify it. Filters
        narrower than a bin may be empty.
    """
    with torch.inference_mode(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        highest = sampling_rate / 2 if max_frequency_hz is None else max_frequency_hz
        filters = mel_filter_bank(
            n_fft // 2 + 1, n_mels, min_frequency_hz, highest, sampling_rate, norm="slaney", mel_scale="slaney"
        )
        return torch.from_numpy(filters).float().T.contiguous().to(device)


def a_weighting(frequencies_hz: Tensor) -> Tensor:
    """Gain of the A curve, 1 at 1 kHz (IEC 61672-1:2013, Annex E); same shape."""
    f1, f2, f3, f4 = 20.598997, 107.65265, 737.86223, 12194.217

    def response(f: Tensor) -> Tensor:
        poles = (f**2 + f1**2) * ((f**2 + f2**2) * (f**2 + f3**2)).sqrt() * (f**2 + f4**2)
        return f4**2 * f**4 / poles

    frequencies_hz = frequencies_hz.double()
    return (response(frequencies_hz) / response(torch.tensor(1000.0, dtype=torch.float64))).float()


def bin_frequencies(n_fft: int, sampling_rate: int) -> Tensor:
    """Centre of each bin of a real transform, in Hz; (n_fft // 2 + 1,)."""
    return torch.arange(n_fft // 2 + 1) * (sampling_rate / n_fft)


def log_spectrogram(waveform: Tensor, n_fft: int = 1024) -> Tensor:
    """Magnitude in dB relative to a full-scale sine, for plots; (..., time) -> (..., n_fft // 2 + 1, frames)."""
    window = hann_window(n_fft)
    reference = window.sum() / 2  # magnitude of a sine of amplitude 1
    return 20 * torch.log10((stft(waveform, window, n_fft // 4).abs() / reference).clamp(min=math.sqrt(MIN_POWER)))
