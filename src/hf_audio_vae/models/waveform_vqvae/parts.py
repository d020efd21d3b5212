"""The parts of a `WaveformVQVAE` that its configuration names, and the weights that they start with."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import initialization as init

from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.modules.activations import LinearSnake1d
from hf_audio_vae.modules.convolution import (
    GroupNormConv1d,
    GroupNormConvTranspose1d,
    WeightNormConv1d,
    WeightNormConvTranspose1d,
)
from hf_audio_vae.modules.quantization import (
    Codebook,
    FiniteScalarQuantizer,
    Quantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from hf_audio_vae.modules.seanet import SEANetLayers

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {"snake": LinearSnake1d, "elu": lambda channels: nn.ELU()}


def seanet_layers(config: WaveformVQVAEConfig) -> SEANetLayers:
    """Return what encoder and decoder are made of."""
    return SEANetLayers(
        activation=ACTIVATIONS[config.activation],
        group_norm=config.norm == "time_group_norm",
        causal=config.causal,
        pad_mode=config.pad_mode,
        residual_kernel_size=config.residual_kernel_size,
        residual_dilations=tuple(config.residual_dilations),
        residual_compression=config.residual_compression,
        residual_shortcut=config.residual_shortcut,
    )


def new_quantizer(config: WaveformVQVAEConfig) -> Quantizer:
    """Make the quantizer that a configuration describes."""
    if config.fsq_levels is not None:
        return FiniteScalarQuantizer(config.hidden_size, tuple(config.fsq_levels))
    dim = config.hidden_size if config.codebook_dim is None else config.codebook_dim
    codebooks = (
        Codebook(
            config.codebook_size,
            dim,
            cosine=config.cosine,
            learning="ema" if config.codebook_learning == "ema" else "gradient",
            decay=config.ema_decay,
            restart_share=config.restart_share,
            kmeans_start=config.kmeans_start,
        )
        for _ in range(config.num_codebooks)
    )
    return ResidualVectorQuantizer(
        (VectorQuantizer(config.hidden_size, codebook, rotation=config.rotation_trick) for codebook in codebooks),
        dropout=config.quantizer_dropout,
    )


def start_weights(module: nn.Module) -> None:
    """Start a module, where it was not loaded, as torch starts it; a codebook without data, DAC's Snake with 1."""
    if isinstance(module, WeightNormConv1d | WeightNormConvTranspose1d):
        _init_convolution(module.weight_v, module.bias)
        init.copy_(module.weight_g, torch.linalg.vector_norm(module.weight_v, dim=(1, 2), keepdim=True))
    elif isinstance(module, GroupNormConv1d | GroupNormConvTranspose1d):
        _init_convolution(module.weight, module.bias)
    elif isinstance(module, nn.GroupNorm | nn.LSTM):
        module.reset_parameters()
    elif isinstance(module, LinearSnake1d):
        init.ones_(module.alpha)
    elif isinstance(module, Codebook):
        # Vectors from a checkpoint that counts no updates are no new ones: data must not start them over.
        loaded = getattr(module.vectors, "_is_hf_initialized", False)
        init.normal_(module.vectors)
        init.ones_(module.counts)
        init.constant_(module.updates, int(loaded))
        if module.learning == "ema":
            init.copy_(module.sums, module.vectors * module.counts[:, None])


def _init_convolution(weight: Tensor, bias: Tensor | None) -> None:
    """As torch does it."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        bound = 1 / math.sqrt(weight[0].numel())
        init.uniform_(bias, -bound, bound)
