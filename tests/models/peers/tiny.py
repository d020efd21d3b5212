"""Published classes with tiny sizes and random weights."""

from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from torch import nn

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
        without_gradient: Parameters that no gradient reaches, such as codebooks.
        regularisers: Weights of the losses of the model in a fine-tuning.
    """

    model_class: Any
    arguments: dict[str, Any]
    hop_length: int
    gain: float = 1.0
    refuses_chunks: str | None = None
    without_gradient: tuple[str, ...] = ()
    regularisers: dict[str, float] = field(default_factory=lambda: {"kl": 1e-4})

    def new(self) -> Any:
        """Build the model, with weights that are neither zero nor silent."""
        config_class = getattr(self.model_class, "config_class", None)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if config_class is None:
                return lively(self.model_class(**self.arguments), self.gain)
            return lively(self.model_class(config_class(**self.arguments)), self.gain)


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


TINY = {
    "LongCatAudioDiTVae": Tiny(
        diffusers.LongCatAudioDiTVae,
        {
            "in_channels": 1,
            "channels": 8,
            "latent_dim": 4,
            "encoder_latent_dim": 8,
            "c_mults": [1, 2, 2],
            "strides": [2, 4, 4],
            "downsampling_ratio": 32,
            "sample_rate": 8000,
        },
        hop_length=32,
        gain=0.8,
    )
}
