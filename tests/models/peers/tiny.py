"""Published classes with tiny sizes and random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers
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
    """

    model_class: Any
    arguments: dict[str, Any]
    hop_length: int
    gain: float = 1.0
    refuses_chunks: str | None = None
    without_gradient: tuple[str, ...] = ()
    prepare: Callable[[Any], None] = lambda original: None
    codec: "CodecFacts | None" = None

    def new(self) -> Any:
        """Build the model, with weights that are neither zero nor silent."""
        config_class = getattr(self.model_class, "config_class", None)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if config_class is None:
                model = lively(self.model_class(**self.arguments), self.gain)
            else:
                model = lively(self.model_class(config_class(**self.arguments)), self.gain)
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


# Models with codes.


@torch.no_grad()
def fill_codebooks(layers: Any, residual: Tensor, books: str) -> None:
    """Fill residual codebooks with values around the residuals: those of new models are zero."""
    for layer in layers:
        values = layer.project_in(residual.mT).mT if hasattr(layer, "project_in") else residual
        values = values.mT.flatten(0, 1)
        book = getattr(layer.codebook, books)
        chosen = values[torch.randint(len(values), (len(book),))]
        book.copy_(chosen + 0.3 * values.std() * torch.randn_like(book))
        residual = residual - layer.decode(layer.encode(residual))


@torch.no_grad()
def prepare_mimi(original: Any) -> None:
    x = 0.3 * torch.randn(2, original.config.audio_channels, 30 * original.config.frame_size)
    latents, quantizer = original.encoder(x).latents, original.quantizer
    for part in (quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer):
        fill_codebooks(part.layers, part.input_proj(latents), "embed_sum")
    for layer in quantizer.modules():
        if hasattr(layer, "_embed"):
            layer._embed = None


def mimi_reference(original: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    output = original(x)
    return output.audio_codes, output.audio_values


TINY["MimiModel"] = Tiny(
    transformers.MimiModel,
    {
        "num_filters": 2,
        "hidden_size": 32,
        "upsampling_ratios": [4, 2, 2, 2],
        "sampling_rate": 1600,
        "codebook_size": 32,
        "codebook_dim": 16,
        "vector_quantization_hidden_dimension": 16,
        "num_quantizers": 4,
        "upsample_groups": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "sliding_window": 8,
        "layer_scale_initial_scale": 0.5,
    },
    hop_length=64,
    prepare=prepare_mimi,
    codec=CodecFacts(mimi_reference, kept_frames=(1, 2, 7), published={}, rates=(24000, 1920, (2048,) * 32)),
)
