"""Measurement of how well a small diffusion model learns the latents of autoencoders, at equal cost."""

from hf_audio_vae.comparison.diffusability.budget import Budget
from hf_audio_vae.comparison.diffusability.denoiser import FrameDenoiser
from hf_audio_vae.comparison.diffusability.denoising import DenoisingErrors, denoising_errors, trained_denoiser
from hf_audio_vae.comparison.diffusability.latents import EncodedClips, encoded
from hf_audio_vae.comparison.diffusability.results import Diffusability, Measured
from hf_audio_vae.comparison.diffusability.run import check_systems, measure_diffusability
from hf_audio_vae.comparison.diffusability.sounds import HeldOut, References, generated_sounds

__all__ = [
    "Budget",
    "DenoisingErrors",
    "Diffusability",
    "EncodedClips",
    "FrameDenoiser",
    "HeldOut",
    "Measured",
    "References",
    "check_systems",
    "denoising_errors",
    "encoded",
    "generated_sounds",
    "measure_diffusability",
    "trained_denoiser",
]
