"""Embeddings of sound, for distances between sets of clips."""

from hf_audio_vae.evaluation.embeddings.embedding import EMBEDDINGS, HUB_MODELS, Embedding, embed, embedding_of
from hf_audio_vae.evaluation.embeddings.log_mel import LogMelEmbedding
from hf_audio_vae.evaluation.embeddings.musicnn import MusicnnEmbedding

__all__ = [
    "EMBEDDINGS",
    "HUB_MODELS",
    "Embedding",
    "LogMelEmbedding",
    "MusicnnEmbedding",
    "embed",
    "embedding_of",
]
