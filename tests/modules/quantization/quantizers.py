"""Small quantizers with random numbers, and latents for them."""

import torch
from torch import Tensor

from hf_audio_vae.modules.quantization import Codebook, Quantizer, ResidualVectorQuantizer, VectorQuantizer

CHANNELS = 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latents(batch: int = 3, frames: int = 20, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, CHANNELS, frames, generator=seeded(seed), dtype=dtype)


def randomized(quantizer: Quantizer) -> Quantizer:
    """Every number random, codebooks as if trained."""
    quantizer.double()
    generator = seeded(1)
    for tensor in (*quantizer.parameters(), *(b for n, b in quantizer.named_buffers() if n.endswith("vectors"))):
        tensor.data.copy_(torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
    for module in quantizer.modules():
        if isinstance(module, Codebook):
            module.updates.fill_(1)
            module.counts.fill_(20)
            if module.learning == "ema":
                module.sums.copy_(module.vectors * 20)
    return quantizer


def vq(dim: int = CHANNELS, *, size: int = 32, rotation: bool = False, **options: object) -> VectorQuantizer:
    return VectorQuantizer(CHANNELS, Codebook(size, dim, **options), rotation=rotation)


def rvq(count: int = 4, dim: int = CHANNELS, dropout: float = 0.0, **options: object) -> ResidualVectorQuantizer:
    return ResidualVectorQuantizer([vq(dim, **options) for _ in range(count)], dropout=dropout)


def dac(count: int = 4, dropout: float = 0.0) -> ResidualVectorQuantizer:
    return rvq(count, 3, dropout, cosine=True, learning="gradient", restart_share=None)
