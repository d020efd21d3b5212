"""Inference on the CPU by compiled kernels: half a convolution's products, activations that stay in the cache."""

from hf_audio_vae.runtime.fused.stack import FusedStack

__all__ = ["FusedStack"]
