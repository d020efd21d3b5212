"""Latents on their own."""

from hf_audio_vae.latents.storage import LatentsInfo, load_latents, save_latents

__all__ = ["LatentsInfo", "load_latents", "save_latents"]
