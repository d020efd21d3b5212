import math
import warnings
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.audio_utils import mel_filter_bank

# Power below this counts as this: 1e-4 in magnitude, as in auraloss. It bounds every logarithm, ratio and gradient.
MIN_POWER = 1e-8


def stft(waveform: Tensor, window: Tensor, hop_length: int) -> Tensor:
    """Short-time Fourier transform, centred, reflected at the ends.

    Args:
        waveform (`torch.Tensor` of shape `(..., time)`): Any time >= 1; one shorter than the window is extended with
            zeros to the window's length.
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
    """Absolute value times `gain`, at least ``sqrt(min_power)``; its gradient is zero below, so finite in silence."""
    # The backward pass of `spectrum.real` would write both parts into zeros and add them up; this one stacks them.
    real, imaginary = torch.view_as_real(spectrum).unbind(dim=-1)
    power = real.square() + imaginary.square()
    if gain is not None:
        power = power * gain.square()
    return power.clamp(min=min_power).sqrt()


CPU = torch.device("cpu")


@lru_cache(maxsize=128)
def hann_window(length: int, device: torch.device = CPU) -> Tensor:
    """Periodic Hann window, (length,). Made once and shared: not to be written to."""
    with torch.inference_mode(False):
        return torch.hann_window(length, device=device)


@lru_cache(maxsize=128)
def mel_filters(n_mels: int, n_fft: int, sampling_rate: int, device: torch.device = CPU) -> Tensor:
    """Triangular filters on the Slaney mel scale, of equal area (librosa's default).

    Args:
        n_mels (`int`): Filters between 0 Hz and half the sampling rate.
        n_fft (`int`): Transform length.
        sampling_rate (`int`): In Hz.
        device (`torch.device`): Where they are wanted.

    Returns:
        `torch.Tensor` of shape `(n_mels, n_fft // 2 + 1)`, made once and shared: not to be written to. Filters
        narrower than a bin may be empty.
    """
    with torch.inference_mode(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="At least one mel filter has all zero values")
        filters = mel_filter_bank(
            n_fft // 2 + 1, n_mels, 0.0, sampling_rate / 2, sampling_rate, norm="slaney", mel_scale="slaney"
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
    """Magnitude in dB of a full-scale sine, for pictures; (..., time) -> (..., n_fft // 2 + 1, frames)."""
    window = hann_window(n_fft)
    reference = window.sum() / 2  # magnitude of a sine of amplitude 1
    return 20 * torch.log10((stft(waveform, window, n_fft // 4).abs() / reference).clamp(min=math.sqrt(MIN_POWER)))
