"""The parts of a `WaveformVQVAE` that its configuration names."""

from collections.abc import Callable

from torch import nn

from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.modules.activations import LinearSnake1d
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
