"""Metrics of speech: estimated quality (PESQ) and intelligibility (STOI), mean over channels."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hf_audio_vae.audio.resampling import resample
from hf_audio_vae.evaluation.loudness import INSTALL

PESQ_RATE = 16000  # Hz, of wideband PESQ


def pesq_wideband(estimate: Tensor, target: Tensor, sampling_rate: int) -> Tensor:
    """Perceptual evaluation of speech quality, wideband (ITU-T P.862.2), by the package pesq.

    A mean opinion score (MOS-LQO) from 1.04 to 4.64, for speech only. Signals are resampled to 16 kHz: frequencies
    above 8 kHz are ignored. Higher is better.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.
        sampling_rate (`int`): In Hz.

    Returns:
        float64 `torch.Tensor` of shape `(batch,)`: mean over channels. NaN if there is no channel with at least 0.25 s
        and with speech.

    Raises:
        ModuleNotFoundError: pesq is missing.
    """
    try:
        from pesq import BufferTooShortError, NoUtterancesError, pesq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"PESQ needs the package pesq; {INSTALL}.", name="pesq") from error

    def score(ours: Any, theirs: Any) -> float:
        try:
            return float(pesq(PESQ_RATE, theirs, ours, mode="wb"))
        except (BufferTooShortError, NoUtterancesError):
            return math.nan

    estimate, target = (
        torch.stack([resample(item, sampling_rate, PESQ_RATE) for item in signal]) for signal in (estimate, target)
    )
    return _mean_over_channels(score, estimate, target)


def stoi(estimate: Tensor, target: Tensor, sampling_rate: int) -> Tensor:
    """Short-time objective intelligibility (Taal et al., 2011, doi:10.1109/TASL.2011.2114881), by the package pystoi.

    Correlation of short-time envelopes in third octaves, up to 1, for speech only. pystoi resamples to 10 kHz:
    frequencies above 5 kHz are ignored. Higher is better.

    Args:
        estimate (`torch.Tensor` of shape `(batch, audio_channels, time)`): Reconstruction.
        target (`torch.Tensor`, same shape): Original.
        sampling_rate (`int`): In Hz.

    Returns:
        float64 `torch.Tensor` of shape `(batch,)`: mean over channels. NaN if no channel has 0.4 s of sound.

    Raises:
        ModuleNotFoundError: pystoi is missing.
    """
    try:
        from pystoi import stoi as stoi_of
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"STOI needs the package pystoi; {INSTALL}.", name="pystoi") from error

    def score(ours: Any, theirs: Any) -> float:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Not enough STFT frames")  # then pystoi returns 1e-5
            try:
                return float(stoi_of(theirs, ours, sampling_rate))
            except (RuntimeWarning, ValueError):  # `ValueError`: not even one frame
                return math.nan

    return _mean_over_channels(score, estimate, target)


def _mean_over_channels(score: Callable[[Any, Any], float], estimate: Tensor, target: Tensor) -> Tensor:
    """Score each channel that is silent in neither signal; (batch, channels, time) twice -> float64 (batch,)."""
    scores = [
        [
            score(ours.numpy(), theirs.numpy()) if bool(ours.any()) and bool(theirs.any()) else math.nan
            for ours, theirs in zip(item.cpu().double(), reference.cpu().double(), strict=True)
        ]
        for item, reference in zip(estimate, target, strict=True)
    ]
    return torch.tensor(scores, dtype=torch.float64).nanmean(dim=1)
