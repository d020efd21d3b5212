"""The autoencoder of stable-audio-tools, written out: the layers, and so the names of its weights, nested as there."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm

Norm = Callable[[nn.Module], nn.Module]


class Snake(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.alpha.exp()[:, None] * x).sin() ** 2 / (self.beta.exp()[:, None] + 1e-9)


class Layers(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Residual(Layers):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def units(channels: int, norm: Norm) -> list[nn.Module]:
    return [
        Residual(
            Snake(channels),
            norm(nn.Conv1d(channels, channels, 7, dilation=dilation, padding=3 * dilation)),
            Snake(channels),
            norm(nn.Conv1d(channels, channels, 1)),
        )
        for dilation in (1, 3, 9)
    ]


def encoder_of(config: dict, norm: Norm) -> nn.Module:
    widths = [config["channels"] * multiple for multiple in (1, *config["c_mults"])]
    blocks = [
        Layers(
            *units(wide, norm),
            Snake(wide),
            norm(nn.Conv1d(wide, wider, 2 * stride, stride, padding=math.ceil(stride / 2))),
        )
        for wide, wider, stride in zip(widths, widths[1:], config["strides"], strict=False)
    ]
    first = norm(nn.Conv1d(config["in_channels"], widths[0], 7, padding=3))
    last = norm(nn.Conv1d(widths[-1], config["latent_dim"], 3, padding=1))
    return Layers(first, *blocks, Snake(widths[-1]), last)


def decoder_of(config: dict, norm: Norm) -> nn.Module:
    widths = [config["channels"] * multiple for multiple in (1, *config["c_mults"])]
    blocks = [
        Layers(
            Snake(wider),
            norm(nn.ConvTranspose1d(wider, wide, 2 * stride, stride, padding=math.ceil(stride / 2))),
            *units(wide, norm),
        )
        for wide, wider, stride in zip(widths, widths[1:], config["strides"], strict=False)
    ]
    first = norm(nn.Conv1d(config["latent_dim"], widths[-1], 7, padding=3))
    last = norm(nn.Conv1d(widths[0], config["out_channels"], 7, padding=3, bias=False))
    return Layers(first, *blocks[::-1], Snake(widths[0]), last)


class Reference(nn.Module):
    """An autoencoder as stable-audio-tools builds it from a configuration without tanh, with random parameters."""

    def __init__(self, config: dict, norm: Norm = weight_norm, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.encoder = encoder_of(config["model"]["encoder"]["config"], norm)
            self.decoder = decoder_of(config["model"]["decoder"]["config"], norm)
            for parameter in self.parameters():
                parameter.data.add_(0.1 * torch.randn_like(parameter))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = self.encoder(x).chunk(2, dim=1)
        return mean, nn.functional.softplus(scale) + 1e-4


def config_of(strides: tuple[int, ...] = (2, 4), audio_channels: int = 1) -> dict:
    shared = {"c_mults": [1, 2, 2, 3, 4][: len(strides)], "strides": list(strides), "use_snake": True}
    encoder = {"in_channels": audio_channels, "channels": 5, "latent_dim": 6, **shared}
    decoder = {"out_channels": audio_channels, "channels": 4, "latent_dim": 3, **shared, "final_tanh": False}
    return {
        "model_type": "autoencoder",
        "sample_size": 1024,
        "sample_rate": 16000,
        "audio_channels": audio_channels,
        "model": {
            "encoder": {"type": "oobleck", "config": encoder},
            "decoder": {"type": "oobleck", "config": decoder},
            "bottleneck": {"type": "vae"},
            "latent_dim": 3,
            "downsampling_ratio": math.prod(strides),
            "io_channels": audio_channels,
        },
        "training": {"learning_rate": 1e-4},
    }


def within_diffusion(config: dict, **pretransform: object) -> dict:
    part = {"type": "autoencoder", "config": config["model"], **pretransform}
    model = {"pretransform": part, "diffusion": {"type": "dit"}, "io_channels": 3}
    return {**config, "model_type": "diffusion_cond", "model": model}
