"""Latents on their own."""

from hf_audio_vae.latents.moments import ChannelMoments
from hf_audio_vae.latents.storage import LatentsInfo, load_latents, save_latents

__all__ = ["ChannelMoments", "LatentsInfo", "load_latents", "save_latents"]
