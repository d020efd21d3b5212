"""Storage and channel statistics of latents and codes, and interpolation between latents."""

from hf_audio_vae.latents.alignment import loop, stretch
from hf_audio_vae.latents.interpolation import interpolate, latents_path
from hf_audio_vae.latents.moments import ChannelMoments
from hf_audio_vae.latents.morphing import ALIGNMENTS, Alignment, Looped, Morph, Stretched, morphs, moving_morph
from hf_audio_vae.latents.storage import LatentsInfo, StoredCodes, load_codes, load_latents, save_codes, save_latents
from hf_audio_vae.latents.warping import Warp, warp

__all__ = [
    "ALIGNMENTS",
    "Alignment",
    "ChannelMoments",
    "LatentsInfo",
    "Looped",
    "Morph",
    "StoredCodes",
    "Stretched",
    "Warp",
    "interpolate",
    "latents_path",
    "load_codes",
    "load_latents",
    "loop",
    "morphs",
    "moving_morph",
    "save_codes",
    "save_latents",
    "stretch",
    "warp",
]
