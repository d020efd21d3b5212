"""Latents to codes: vector quantizers, plain and residual, and finite scalar quantization."""

from hf_audio_vae.modules.quantization.codebook import Codebook
from hf_audio_vae.modules.quantization.finite_scalar import FiniteScalarQuantizer
from hf_audio_vae.modules.quantization.output import QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Quantizer
from hf_audio_vae.modules.quantization.residual import ResidualVectorQuantizer
from hf_audio_vae.modules.quantization.vector import VectorQuantizer

__all__ = [
    "Codebook",
    "FiniteScalarQuantizer",
    "Quantizer",
    "QuantizerOutput",
    "ResidualVectorQuantizer",
    "VectorQuantizer",
]
