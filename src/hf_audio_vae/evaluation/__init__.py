"""Metrics, pictures and reports."""

from hf_audio_vae.evaluation.metrics import (
    mel_spectrogram_distance,
    multi_resolution_stft_distance,
    reconstruction_metrics,
    si_sdr,
)
from hf_audio_vae.evaluation.plots import reconstruction_figure

__all__ = [
    "mel_spectrogram_distance",
    "multi_resolution_stft_distance",
    "reconstruction_figure",
    "reconstruction_metrics",
    "si_sdr",
]
