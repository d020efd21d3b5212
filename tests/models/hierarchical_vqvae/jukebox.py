"""Jukebox's autoencoder written out: the layers, and so the names of its weights, nested as in its checkpoints."""

import torch
from torch import Tensor, nn

PUBLISHED = {
    "levels": 3,
    "downs_t": (3, 2, 2),
    "strides_t": (2, 2, 2),
    "emb_width": 64,
    "l_bins": 2048,
    "l_mu": 0.99,
    "hvqvae_multipliers": (2, 1, 1),
    "width": 32,
    "depth": 4,
    "m_conv": 1.0,
    "dilation_growth_rate": 3,
    "dilation_cycle": None,
    "vqvae_reverse_decoder_dilation": True,
    "sr": 44100,
}


class Hyperparams(dict):
    """What Jukebox has its numbers in while it runs."""


class Residual(nn.Module):
    def __init__(self, width: int, inside: int, dilation: int) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(width, inside, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(inside, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.model(x)


class Nested(nn.Module):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def residuals(hps: dict, width: int, depth: int, backwards: bool) -> nn.Module:
    places = [place if hps["dilation_cycle"] is None else place % hps["dilation_cycle"] for place in range(depth)]
    units = [Residual(width, int(hps["m_conv"] * width), hps["dilation_growth_rate"] ** place) for place in places]
    return Nested(*(units[::-1] if backwards else units))


class Side(nn.Module):
    """An encoder or, with `out`, a decoder."""

    def __init__(self, blocks: list[nn.Module], out: nn.Module | None = None) -> None:
        super().__init__()
        self.level_blocks = nn.ModuleList(blocks)
        if out is not None:
            self.out = out


class Bins(nn.Module):
    def __init__(self, bins: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("k", torch.randn(bins, channels))


class Bottleneck(nn.Module):
    def __init__(self, levels: list[Bins]) -> None:
        super().__init__()
        self.level_blocks = nn.ModuleList(levels)


class Reference(nn.Module):
    """Random parameters, and the published results of them, level by level."""

    def __init__(self, hps: dict, channels: int = 1) -> None:
        super().__init__()
        self.hps, self.channels = hps, channels
        levels = range(hps["levels"])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.encoders = nn.ModuleList(Side([self.down(i, level) for i in range(level + 1)]) for level in levels)
            self.decoders = nn.ModuleList(
                Side(
                    [self.up(i, level) for i in range(level + 1)], nn.Conv1d(hps["emb_width"], channels, 3, padding=1)
                )
                for level in levels
            )
            self.bottleneck = Bottleneck([Bins(hps["l_bins"], hps["emb_width"]) for _ in levels])
            for parameter in self.parameters():
                parameter.data.add_(0.05 * torch.randn_like(parameter))
        with torch.no_grad():  # bins among the latents, so that many are used
            latents = self.latents(0.3 * torch.randn(1, channels, 4096, generator=torch.Generator().manual_seed(1)))
            for z, bins in zip(latents, self.bottleneck.level_blocks, strict=True):
                bins.k.mul_(z.std(dim=2)).add_(z.mean(dim=2))

    def numbers(self, i: int, level: int) -> tuple[int, int, int, int]:
        multiplier = (self.hps["hvqvae_multipliers"] or (1,) * self.hps["levels"])[level]
        width, depth = multiplier * self.hps["width"], multiplier * self.hps["depth"]
        return width, depth, self.hps["strides_t"][i], self.hps["downs_t"][i]

    def down(self, i: int, level: int) -> nn.Module:
        (width, depth, stride, count), emb = self.numbers(i, level), self.hps["emb_width"]
        widths = [emb if i else self.channels] + [width] * count
        stages = [
            nn.Sequential(
                nn.Conv1d(widths[n], width, 2 * stride, stride, stride // 2), residuals(self.hps, width, depth, False)
            )
            for n in range(count)
        ]
        return Nested(*stages, nn.Conv1d(width, emb, 3, padding=1))

    def up(self, i: int, level: int) -> nn.Module:
        (width, depth, stride, count), emb = self.numbers(i, level), self.hps["emb_width"]
        widths = [width] * (count - 1) + [emb]
        backwards = self.hps["vqvae_reverse_decoder_dilation"]
        stages = [
            nn.Sequential(
                residuals(self.hps, width, depth, backwards),
                nn.ConvTranspose1d(width, widths[n], 2 * stride, stride, stride // 2),
            )
            for n in range(count)
        ]
        return Nested(nn.Conv1d(emb, width, 3, padding=1), *stages)

    def latents(self, x: Tensor) -> list[Tensor]:
        ends = []
        for encoder in self.encoders:
            z = x
            for block in encoder.level_blocks:
                z = block(z)
            ends.append(z)
        return ends

    def encode(self, x: Tensor) -> list[Tensor]:
        codes = []
        for z, bins in zip(self.latents(x), self.bottleneck.level_blocks, strict=True):
            rows, k = z.transpose(1, 2), bins.k.T
            distance = (rows**2).sum(-1, keepdim=True) - 2 * rows @ k + (k**2).sum(0)
            codes.append(distance.argmin(-1))
        return codes

    def vectors(self, codes: Tensor, level: int) -> Tensor:
        return self.bottleneck.level_blocks[level].k[codes].transpose(1, 2)

    def decode(self, codes: Tensor, level: int) -> Tensor:
        return self.decoded([self.vectors(codes, level)], level)

    def decode_jointly(self, codes: list[Tensor]) -> Tensor:
        return self.decoded([self.vectors(level, i) for i, level in enumerate(codes)], len(codes) - 1)

    def decoded(self, latents: list[Tensor], level: int) -> Tensor:
        decoder, x = self.decoders[level], latents[-1]
        for i in range(level, -1, -1):
            x = decoder.level_blocks[i](x)
            if i and len(latents) > 1:
                x = x + latents[i - 1]
        return decoder.out(x)
