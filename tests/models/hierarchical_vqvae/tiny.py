"""A tiny hierarchy whose every parameter is random, with vectors amid its latents."""

import torch
from torch import Tensor, nn

from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.models.hierarchical_vqvae.modeling_hierarchical_vqvae import HierarchicalVQVAE
from tests.models.contract import seeded

CONFIG = {
    "audio_channels": 2,
    "sampling_rate": 8000,
    "downsampling_counts": (2, 1, 1),
    "strides": (2, 3, 2),
    "hidden_size": 5,
    "width": 4,
    "depth": 2,
    "level_multipliers": (2, 1, 1),
    "unit_expansion": 1.5,
    "dilation_growth": 3,
    "dilation_cycle": None,
    "reverse_decoder_dilation": True,
    "shared_encoder": False,
    "joint_decoding": False,
    "codebook_size": 16,
    "cosine": False,
    "ema_decay": 0.9,
    "restart_share": None,
    "kmeans_start": False,
    "rotation_trick": False,
}
VARIANTS = [{}, {"shared_encoder": True, "joint_decoding": True}]


def model_of(dtype: torch.dtype = torch.float32, **changes: object) -> HierarchicalVQVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = HierarchicalVQVAE(HierarchicalVQVAEConfig(**{**CONFIG, **changes}))
    generator = seeded()
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    with torch.no_grad():
        sound = 0.3 * torch.randn(1, model.config.audio_channels, 64 * model.hop_length, generator=generator)
        levels = model._encode(sound, None, latents=True)
    for quantizer, latents in zip(model.quantizers, levels, strict=True):
        # Amid the latents: random vectors elsewhere would all of them be nearest to the same code.
        codebook = quantizer.codebook
        codebook.vectors.copy_(latents[0].T[torch.linspace(0, latents.shape[2] - 1, codebook.size).long()])
        codebook.sums.copy_(codebook.vectors)
        codebook.updates.fill_(1)
    return model.to(dtype).eval()


def waveform(time: int, batch: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return 0.3 * torch.randn(batch, CONFIG["audio_channels"], time, generator=seeded(), dtype=dtype)


def codes_of(model: HierarchicalVQVAE, frames: int, batch: int = 1) -> tuple[Tensor, ...]:
    sizes = [frames * model.hop_length // hop for hop in model.hop_lengths]
    return tuple(torch.randint(16, (batch, 1, size), generator=seeded()) for size in sizes)


def equal(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


class Encode(nn.Module):
    def __init__(self, model: HierarchicalVQVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.model.encode(x).audio_codes


class Decode(Encode):
    def forward(self, *codes: Tensor) -> Tensor:
        return self.model.decode(codes).audio_values


def loss(model: HierarchicalVQVAE, x: Tensor) -> Tensor:
    output = model(x)
    values = (output.audio_values, *output.level_values)
    return sum((value - x).square().mean() for value in values) + output.losses["commitment"]
