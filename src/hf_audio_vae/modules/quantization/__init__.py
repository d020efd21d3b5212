"""Quantizers of latents: vector quantization, plain and residual, and finite scalar quantization."""

from collections.abc import Callable

from hf_audio_vae.modules.quantization.codebook import Codebook
from hf_audio_vae.modules.quantization.finite_scalar import FiniteScalarQuantizer
from hf_audio_vae.modules.quantization.output import QuantizerOutput
from hf_audio_vae.modules.quantization.quantizer import Quantizer
from hf_audio_vae.modules.quantization.residual import ResidualVectorQuantizer, residual_vector_quantizer
from hf_audio_vae.modules.quantization.vector import VectorQuantizer

# By their names in configurations; each takes the latent channels and its own options.
QUANTIZERS: dict[str, Callable[..., Quantizer]] = {
    "residual_vector": residual_vector_quantizer,
    "finite_scalar": FiniteScalarQuantizer,
}

__all__ = [
    "QUANTIZERS",
    "Codebook",
    "FiniteScalarQuantizer",
    "Quantizer",
    "QuantizerOutput",
    "ResidualVectorQuantizer",
    "VectorQuantizer",
    "residual_vector_quantizer",
]
