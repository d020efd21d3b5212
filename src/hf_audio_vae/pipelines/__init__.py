"""Generation with the models, and pipeline files for readers without this package."""

from hf_audio_vae.pipelines.code_latents import CodeLatents, encode_codes, interpolate_codes
from hf_audio_vae.pipelines.code_sounds import generate_sounds
from hf_audio_vae.pipelines.pipeline_audio_latent_diffusion import AudioLatentDiffusionPipeline
from hf_audio_vae.pipelines.remote_code import write_vae_shim
from hf_audio_vae.pipelines.token_generation import (
    Prior,
    Sampling,
    generate_codes,
    generate_hierarchy,
    upsample_codes,
)

__all__ = [
    "AudioLatentDiffusionPipeline",
    "CodeLatents",
    "Prior",
    "Sampling",
    "encode_codes",
    "generate_codes",
    "generate_hierarchy",
    "generate_sounds",
    "interpolate_codes",
    "upsample_codes",
    "write_vae_shim",
]
