"""Faults of lengths, of values and of memory."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from measuring import working_mib
from torch import Tensor

from .codecs import Build, dac, encodec, mimi, oobleck, transformers_dac, transformers_encodec
from .registry import attempt, fault

Coder = tuple[Build, int, str]  # builds a model; samples a frame; where the waveform is in its output
CODERS: dict[str, Coder] = {
    "diffusers AutoencoderOobleck": (oobleck, 8, "sample"),
    "transformers DacModel": (transformers_dac, 8, "audio_values"),
    "transformers EncodecModel": (transformers_encodec, 8, "audio_values"),
    "transformers MimiModel": (mimi, 1920, "audio_values"),
    "dac DAC": (dac, 8, "audio"),
    "encodec EncodecModel": (encodec, 320, ""),
}


@torch.no_grad()
def coded(model: Any, name: str, x: Tensor) -> Tensor:
    """Return a waveform after encoding and decoding."""
    y = model.eval()(x)
    return y if isinstance(y, Tensor) else y[name]


def noise(time: int, level: float = 0.3) -> Tensor:
    """Return noise of shape (1, 1, time)."""
    return level * torch.randn(1, 1, time, generator=torch.Generator().manual_seed(0))


@fault("numbers", CODERS)
def length(folder: Path, peer: Coder) -> str:
    """Samples out minus in, for 10 frames less 1 sample, for 10 frames, and with 1 sample more."""
    model, hop = peer[0](), peer[1]
    return attempt(
        lambda: [
            coded(model, peer[2], noise(time)).shape[-1] - time for time in (10 * hop - 1, 10 * hop, 10 * hop + 1)
        ],
        lambda differences: ", ".join(f"{value:+d}" for value in differences),
    )


@fault("numbers", CODERS)
def one_sample(folder: Path, peer: Coder) -> str:
    """An item of one sample."""
    return attempt(lambda: coded(peer[0](), peer[2], noise(1)), lambda y: f"{y.shape[-1]} samples")


def spoil(model: Any, x: Tensor) -> None:
    """Set one weight of the encoder to NaN."""
    weights = (weight for weight in model.encoder.parameters() if weight.ndim == 3 and weight.shape[-1] > 1)
    next(weights).detach().view(-1)[0] = torch.nan


HARM: dict[str, Callable[[Any, Tensor], object]] = {
    "One sample of the input is NaN": lambda model, x: x[..., 5].fill_(torch.nan),
    "One weight is NaN": spoil,
}


def harmed(harm: Callable[[Any, Tensor], object]) -> Callable[[Path, Coder], str]:
    """Return a case that compares the output with what it is without the fault."""

    def provoke(folder: Path, peer: Coder) -> str:
        model, x = peer[0](), noise(20 * peer[1])
        clean = coded(model, peer[2], x)
        harm(model, x)

        def describe(y: Tensor) -> str:
            share, changed = (values.double().mean().item() for values in (~y.isfinite(), y != clean))
            return f"{share:.0%} of the output is NaN, {changed:.0%} has changed"

        return attempt(lambda: coded(model, peer[2], x), describe)

    return provoke


for _name, _harm in HARM.items():
    fault("numbers", CODERS, _name)(harmed(_harm))


@fault("numbers", CODERS)
def integers(folder: Path, peer: Coder) -> str:
    """Integer samples."""
    x = (noise(20 * peer[1]) * 2**15).short()
    return attempt(lambda: coded(peer[0](), peer[2], x), lambda y: f"{y.dtype}")


@fault("numbers", {f"diffusers kl() of Oobleck in {kind}": getattr(torch, kind) for kind in ("float32", "float16")})
def divergence(folder: Path, peer: torch.dtype) -> str:
    """KL of a posterior with the standard deviation 300."""
    posterior = import_module("diffusers.models.autoencoders.autoencoder_oobleck").OobleckDiagonalGaussianDistribution
    parameters = torch.cat([torch.zeros(1, 4, 10), torch.full((1, 4, 10), 300.0)], dim=1)
    normal = torch.distributions.Normal
    exact = 4 * torch.distributions.kl_divergence(normal(0.0, 300.0), normal(0.0, 1.0)).item()
    return attempt(lambda: posterior(parameters.to(peer)).kl().item(), lambda kl: f"{kl:.0f}; exact: {exact:.0f}")


@fault("numbers", {name: coder for name, coder in CODERS.items() if name.split()[0] != "encodec"}, quick=False)
def memory(folder: Path, peer: Coder) -> str:
    """Memory of a minute at 16 kHz, whose samples take 3.7 MiB."""
    model = peer[0]()

    def peak(seconds: int) -> float:
        x = noise(16_000 * seconds)
        return working_mib(lambda: coded(model, peer[2], x))

    return attempt(lambda: 6 * (peak(15) - peak(5)), lambda mib: f"{mib:.0f} MiB")
