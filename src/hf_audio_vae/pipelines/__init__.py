"""Pipelines around the models: what generates, and what lets others load it."""

from hf_audio_vae.pipelines.remote_code import write_vae_shim

__all__ = ["write_vae_shim"]
