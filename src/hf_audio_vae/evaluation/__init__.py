"""Metrics, figures and reports."""

from hf_audio_vae.evaluation.codes import CodeStatistics, usage_warning
from hf_audio_vae.evaluation.embeddings import EMBEDDINGS, Embedding, embed, embedding_of
from hf_audio_vae.evaluation.health import Health, health_of
from hf_audio_vae.evaluation.latents import LatentStatistics, collapse_warning
from hf_audio_vae.evaluation.metrics import (
    mel_spectrogram_distance,
    multi_resolution_stft_distance,
    reconstruction_metrics,
    si_sdr,
)
from hf_audio_vae.evaluation.plots import codes_figure, latents_figure, reconstruction_figure
from hf_audio_vae.evaluation.registry import RECONSTRUCTION_METRICS, measure_reconstruction
from hf_audio_vae.evaluation.set_distances import (
    EmbeddingStatistics,
    extrapolated_frechet_distance,
    frechet_distance,
    kernel_distance,
)

__all__ = [
    "EMBEDDINGS",
    "RECONSTRUCTION_METRICS",
    "CodeStatistics",
    "Embedding",
    "EmbeddingStatistics",
    "Health",
    "LatentStatistics",
    "codes_figure",
    "collapse_warning",
    "embed",
    "embedding_of",
    "extrapolated_frechet_distance",
    "frechet_distance",
    "health_of",
    "kernel_distance",
    "latents_figure",
    "measure_reconstruction",
    "mel_spectrogram_distance",
    "multi_resolution_stft_distance",
    "reconstruction_figure",
    "reconstruction_metrics",
    "si_sdr",
    "usage_warning",
]
