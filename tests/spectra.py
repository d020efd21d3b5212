"""Slow float64 spectra and distances, written from the published formulas with numpy alone."""

import math

import numpy as np


def slow_magnitudes(waveform: np.ndarray, window_length: int, hop_length: int) -> np.ndarray:
    """|DFT| of centred, reflected, Hann-windowed frames; (..., time) -> (..., bins, frames)."""
    padding = [(0, 0)] * (waveform.ndim - 1)
    waveform = np.pad(waveform.astype(np.float64), [*padding, (0, max(window_length - waveform.shape[-1], 0))])
    centred = np.pad(waveform, [*padding, (window_length // 2, window_length // 2)], mode="reflect")
    n = np.arange(window_length)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / window_length)
    basis = np.exp(-2j * np.pi * np.outer(np.arange(window_length // 2 + 1), n) / window_length)
    starts = range(0, centred.shape[-1] - window_length + 1, hop_length)
    frames = np.stack([centred[..., start : start + window_length] for start in starts], axis=-1)
    return np.abs(basis @ (window[:, None] * frames))


def slow_stft_distance(
    estimate: np.ndarray, target: np.ndarray, window_length: int, gain: np.ndarray | None = None
) -> np.ndarray:
    """Spectral convergence plus log-magnitude L1 (Yamamoto et al., 2020, eqs. 5, 6), each item by itself; -> (batch,).

    Magnitudes are floored at 1e-4, as in auraloss; an item's norm runs over its channels, too.
    """
    scale = np.ones(window_length // 2 + 1) if gain is None else gain
    estimate, target = (
        np.maximum(slow_magnitudes(waveform, window_length, window_length // 4) * scale[:, None], 1e-4)
        for waveform in (estimate, target)
    )
    convergence = np.sqrt(((target - estimate) ** 2).sum((1, 2, 3))) / np.sqrt((target**2).sum((1, 2, 3)))
    return convergence + np.abs(np.log(estimate) - np.log(target)).mean(axis=(1, 2, 3))


def slow_mel_distances(
    estimate: np.ndarray, target: np.ndarray, window_length: int, filters: np.ndarray, power: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """L1 of log10(clamp(mel, 1e-5)^power) and L1 of mel (DAC's `MelSpectrogramLoss`), each item by itself."""
    estimate, target = (
        filters @ slow_magnitudes(waveform, window_length, window_length // 4) for waveform in (estimate, target)
    )
    logs = [np.log10(np.maximum(mel, 1e-5) ** power) for mel in (estimate, target)]
    return np.abs(logs[0] - logs[1]).mean(axis=(1, 2, 3)), np.abs(estimate - target).mean(axis=(1, 2, 3))


def slaney_mel_filters(n_mels: int, n_fft: int, sampling_rate: int) -> np.ndarray:
    """Triangles of unit area on Slaney's scale, as librosa publishes them; (n_mels, bins).

    Linear up to 1 kHz with 15 mels, then 27 mels to each factor of 6.4.
    """

    def mel(hz: float) -> float:
        return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)

    def hz(mel: float) -> float:
        return 200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    corners = [hz(m) for m in np.linspace(mel(0), mel(sampling_rate / 2), n_mels + 2)]
    bins = np.arange(n_fft // 2 + 1) * sampling_rate / n_fft
    filters = np.zeros((n_mels, len(bins)))
    for i, (left, centre, right) in enumerate(zip(corners[:-2], corners[1:-1], corners[2:], strict=True)):
        for j, frequency in enumerate(bins):
            rising, falling = (frequency - left) / (centre - left), (right - frequency) / (right - centre)
            filters[i, j] = max(0.0, min(rising, falling)) * 2 / (right - left)
    return filters
