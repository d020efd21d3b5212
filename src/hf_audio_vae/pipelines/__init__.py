"""Pipelines around the models: what generates, and what lets others load it."""

from hf_audio_vae.pipelines.pipeline_audio_latent_diffusion import AudioLatentDiffusionPipeline
from hf_audio_vae.pipelines.remote_code import write_vae_shim

__all__ = ["AudioLatentDiffusionPipeline", "write_vae_shim"]
