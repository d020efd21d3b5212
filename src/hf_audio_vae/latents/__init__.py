"""Storage and channel statistics of latents and codes."""

from hf_audio_vae.latents.moments import ChannelMoments
from hf_audio_vae.latents.storage import LatentsInfo, StoredCodes, load_codes, load_latents, save_codes, save_latents

__all__ = [
    "ChannelMoments",
    "LatentsInfo",
    "StoredCodes",
    "load_codes",
    "load_latents",
    "save_codes",
    "save_latents",
]
