"""Latents and codes on their own."""

from hf_audio_vae.latents.moments import ChannelMoments
from hf_audio_vae.latents.storage import LatentsInfo, StoredCodes, load_codes, load_latents, save_codes, save_latents
from hf_audio_vae.latents.token_storage import CodesInfo, load_tokens, save_tokens
from hf_audio_vae.latents.tokens import CodeTokens
from hf_audio_vae.latents.upsampling_tokens import UpsamplingTokens

__all__ = [
    "ChannelMoments",
    "CodeTokens",
    "CodesInfo",
    "LatentsInfo",
    "StoredCodes",
    "UpsamplingTokens",
    "load_codes",
    "load_latents",
    "load_tokens",
    "save_codes",
    "save_latents",
    "save_tokens",
]
