"""Loudness, loudness range and true peak, and their errors in a reconstruction."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.resampling import resample

INSTALL = "install it with `pip install 'hf-audio-vae[metrics]'`"
MAX_CHANNELS = 5  # of BS.1770: left, right, centre, left and right surround
BLOCK_SECONDS = 0.4  # momentary loudness, the shortest signal with an integrated loudness
SHORT_TERM_SECONDS = 3.0  # short-term loudness, the shortest signal with a loudness range
OVERSAMPLING = 4  # BS.1770-4, annex 2, at 48 kHz


def integrated_loudness(waveform: Tensor, sampling_rate: int) -> Tensor:
    """Integrated loudness in LUFS: K-weighted, gated at -70 LUFS and at 10 LU below the mean (ITU-R BS.1770-4).

    pyloudnorm computes it in float64.

    Args:
        waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Signal in [-1, 1] of up to 5 channels.
        sampling_rate (`int`): In Hz.

    Returns:
        float64 `torch.Tensor` of shape `(batch,)`, in LUFS. NaN if the signal is shorter than 0.4 s, or never
        louder than -70 LUFS.

    Raises:
        ModuleNotFoundError: pyloudnorm is missing.
        ValueError: There are more than 5 channels.
    """
    meter = _meter(waveform, sampling_rate)
    return _of_items(meter.integrated_loudness, waveform, BLOCK_SECONDS * sampling_rate)


def loudness_range(waveform: Tensor, sampling_rate: int) -> Tensor:
    """Loudness range in LU: from the 10th to the 95th percentile of the gated short-term loudness (EBU Tech 3342).

    pyloudnorm computes it in float64, from blocks of 3 s that are gated at -70 LUFS and at 20 LU below the mean. It
    appends 1.5 s of silence, so a steady signal of a few seconds has a range above 0. The EBU advises against the
    loudness range of signals below a minute.

    Args:
        waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Signal in [-1, 1] of up to 5 channels.
        sampling_rate (`int`): In Hz.

    Returns:
        float64 `torch.Tensor` of shape `(batch,)`, in LU. NaN if the signal is shorter than 3 s, or never louder
        than -70 LUFS.

    Raises:
        ModuleNotFoundError: pyloudnorm is missing.
        ValueError: There are more than 5 channels.
    """
    meter = _meter(waveform, sampling_rate)
    return _of_items(meter.loudness_range, waveform, SHORT_TERM_SECONDS * sampling_rate)


def true_peak(waveform: Tensor, sampling_rate: int) -> Tensor:
    """Largest absolute value of the signal after oversampling by 4, over all channels, in dBTP.

    ITU-R BS.1770-4, annex 2, with soxr's filter instead of its example filter of 48 coefficients.

    Args:
        waveform (`torch.Tensor` of shape `(batch, audio_channels, time)`): Signal, full scale is 1.
        sampling_rate (`int`): In Hz.

    Returns:
        float64 `torch.Tensor` of shape `(batch,)`, in dB relative to full scale; NaN for digital silence.

    Example:
        >>> sine = torch.sin(torch.pi / 2 * (torch.arange(48000) % 4) + torch.pi / 4)  # its samples are 0.71
        >>> faded = sine * torch.hann_window(48000)
        >>> abs(true_peak(faded[None, None], 48000).item()) < 0.01
        True
    """
    peaks = [resample(item, sampling_rate, OVERSAMPLING * sampling_rate).abs().amax() for item in waveform]
    decibels = 20 * torch.stack(peaks).double().log10()
    return torch.where(decibels.isfinite(), decibels, math.nan)


def loudness_error(estimate: Tensor, target: Tensor, sampling_rate: int) -> Tensor:
    """Absolute difference of `integrated_loudness` in LU; lower is better.

    (batch, audio_channels, time) twice -> float64 (batch,); NaN where one of the two is not defined.
    """
    return (integrated_loudness(estimate, sampling_rate) - integrated_loudness(target, sampling_rate)).abs()


def loudness_range_error(estimate: Tensor, target: Tensor, sampling_rate: int) -> Tensor:
    """Absolute difference of `loudness_range` in LU; lower is better.

    (batch, audio_channels, time) twice -> float64 (batch,); NaN where one of the two is not defined.
    """
    return (loudness_range(estimate, sampling_rate) - loudness_range(target, sampling_rate)).abs()


def true_peak_error(estimate: Tensor, target: Tensor, sampling_rate: int) -> Tensor:
    """Absolute difference of `true_peak` in dB; lower is better.

    (batch, audio_channels, time) twice -> float64 (batch,); NaN where one of the two is silent.
    """
    return (true_peak(estimate, sampling_rate) - true_peak(target, sampling_rate)).abs()


def _meter(waveform: Tensor, sampling_rate: int) -> Any:
    try:
        from pyloudnorm import Meter
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"loudness needs pyloudnorm; {INSTALL}.", name="pyloudnorm") from error
    if waveform.shape[1] > MAX_CHANNELS:
        raise ValueError(
            f"the signal has {waveform.shape[1]} channels, loudness is defined for at most {MAX_CHANNELS}; mix down."
        )
    return Meter(sampling_rate)


def _of_items(measure: Callable[[Any], float], waveform: Tensor, min_samples: float) -> Tensor:
    """Measure each item as float64 (time, channels); NaN if it is too short or too quiet."""
    if waveform.shape[-1] < min_samples:
        return torch.full((len(waveform),), math.nan, dtype=torch.float64)
    values = [float(measure(item.T.cpu().double().numpy())) for item in waveform]
    return torch.tensor([value if math.isfinite(value) else math.nan for value in values], dtype=torch.float64)
