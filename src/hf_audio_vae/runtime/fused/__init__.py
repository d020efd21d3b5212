"""CPU inference on compiled kernels: half the multiplications of a convolution, activations kept in the cache."""

from hf_audio_vae.runtime.fused.stack import FusedStack

__all__ = ["FusedStack"]
