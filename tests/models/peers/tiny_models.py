"""How tiny models of published classes are built, and what is known of the classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SCALES = ("weight_g", "original0")  # of weight norm
UNSCALED = ("weight_v", "original1", "alpha", "beta")


@dataclass(frozen=True)
class Tiny:
    """How to build a tiny model of a class, and what is known of it.

    Args:
        model_class: The class.
        arguments: Those of the class, or of its configuration.
        hop_length: Samples per frame.
        gain: Factor of the weights, so that the output is neither silent nor loud.
        refuses_chunks: What its refusal of chunks says; `None` if it is coded in chunks.
        without_gradient: Parameters that no gradient reaches, such as codebooks, or the starts of their names.
        prepare: Fills what is zero in a new model, such as codebooks.
        codec: Of models with codes, what the original class computes.
        vae: Of models with latents, what the original class computes.
        needs: Library without which the class cannot be imported.
        redrawn: Whether layers are first drawn as torch draws them: those of transformers may be silent.
    """

    model_class: Any
    arguments: dict[str, Any]
    hop_length: int
    gain: float = 1.0
    refuses_chunks: str | None = None
    without_gradient: tuple[str, ...] = ()
    prepare: Callable[[Any], None] = lambda original: None
    codec: "CodecFacts | None" = None
    vae: "VAEFacts | None" = None
    needs: str | None = None
    redrawn: bool = False

    def new(self) -> Any:
        """Build the model, with weights that are neither zero nor silent."""
        config_class = getattr(self.model_class, "config_class", None)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if config_class is None:
                model = lively(self.model_class(**self.arguments), self.gain)
            else:
                model = self.model_class(config_class(**self.arguments))
                if self.redrawn:
                    redraw(model)
                lively(model, self.gain)
            self.prepare(model)
            return model


@dataclass(frozen=True)
class CodecFacts:
    """What a class with codes computes.

    Args:
        reference: From the original and a waveform (batch, channels, time) of one of its own lengths to its codes and
            its reconstruction.
        kept_frames: Lengths, in frames, that the original keeps.
        published: Arguments of the published model.
        rates: Sampling rate, hop length and codebook sizes of the published model.
    """

    reference: Callable[[Any, Tensor], tuple[Tensor, Tensor]]
    kept_frames: tuple[float, ...]
    published: dict[str, Any]
    rates: tuple[int, int, tuple[int, ...]]


@dataclass(frozen=True)
class VAEFacts:
    """What a class with latents computes.

    Args:
        reference: From the original and a waveform (batch, channels, time) of whole frames to the means and deviations
            of its latents (`None` if it has no posterior), and the waveform that it decodes the means to.
        published: Arguments of the published model that differ from the defaults.
        rates: Hop length and latent channels of the published model.
    """

    reference: Callable[[Any, Tensor], tuple[Tensor, Tensor | None, Tensor]]
    published: dict[str, Any]
    rates: tuple[int, int]


def lively(model: nn.Module, gain: float = 1.0) -> nn.Module:
    """Fill parameters that start at zero, and scale the others: a linear or silent network would hide faults."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.abs().max() < 1e-3:
                fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
                parameter.copy_(noise * (fan_in**-0.5 if parameter.ndim == 2 else 0.1))
            elif name.endswith(SCALES) or (parameter.ndim >= 2 and not name.endswith(UNSCALED)):
                parameter.mul_(gain)
    return model.eval()


def redraw(original: nn.Module) -> None:
    """Draw weights anew as torch does: those of some classes are so small that their output vanishes."""
    for module in original.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear) and not hasattr(module, "parametrizations"):
            module.reset_parameters()
