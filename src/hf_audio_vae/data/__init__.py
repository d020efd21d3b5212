"""Streamed data sets to crops."""

from hf_audio_vae.data.clips import random_crop, whole_clips
from hf_audio_vae.data.loading import EncodedAudio, load_audio_stream
from hf_audio_vae.data.streaming import CropBatch, CropLoader, CropStream, TooManyBadItemsError

__all__ = [
    "CropBatch",
    "CropLoader",
    "CropStream",
    "EncodedAudio",
    "TooManyBadItemsError",
    "load_audio_stream",
    "random_crop",
    "whole_clips",
]
