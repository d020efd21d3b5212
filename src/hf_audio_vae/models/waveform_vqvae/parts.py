"""The layers and the quantizer of a `WaveformVQVAE`, from its configuration."""

import inspect
from collections.abc import Callable

from torch import nn

from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.modules.activations import LinearSnake1d
from hf_audio_vae.modules.quantization import (
    QUANTIZERS,
    FiniteScalarQuantizer,
    Quantizer,
    residual_vector_quantizer,
)
from hf_audio_vae.modules.seanet import SEANetDecoder, SEANetEncoder, SEANetLayers
from hf_audio_vae.modules.stack import Stack

ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {"snake": LinearSnake1d, "elu": lambda channels: nn.ELU()}


def _seanet_layers(config: WaveformVQVAEConfig) -> SEANetLayers:
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


def new_encoder(config: WaveformVQVAEConfig) -> Stack:
    """Make the encoder that a configuration describes."""
    if (stages := config.short_time_stages) is not None:
        return stages.encoder(config.hidden_size)
    return SEANetEncoder(
        config.audio_channels,
        config.hidden_size,
        config.encoder_hidden_size,
        tuple(config.downsampling_ratios),
        _seanet_layers(config),
        kernel_size=config.kernel_size,
        last_kernel_size=config.encoder_last_kernel_size,
        num_lstm_layers=config.num_lstm_layers,
    )


def new_decoder(config: WaveformVQVAEConfig) -> Stack:
    """Make the decoder that a configuration describes."""
    if (stages := config.short_time_stages) is not None:
        return stages.decoder(config.hidden_size)
    return SEANetDecoder(
        config.audio_channels,
        config.hidden_size,
        config.decoder_hidden_size,
        tuple(config.downsampling_ratios)[::-1],
        _seanet_layers(config),
        kernel_size=config.kernel_size,
        last_kernel_size=config.decoder_last_kernel_size,
        num_lstm_layers=config.num_lstm_layers,
        final_tanh=config.final_tanh,
    )


def new_quantizer(config: WaveformVQVAEConfig) -> Quantizer:
    """Make the quantizer that a configuration describes.

    Raises:
        ValueError: The quantizer does not take one of the `quantizer_options`.
    """
    if config.quantizer is not None:
        quantizer, options = QUANTIZERS[config.quantizer], config.quantizer_options or {}
        try:
            inspect.signature(quantizer).bind(config.hidden_size, **options)
        except TypeError as error:
            raise ValueError(
                f"`quantizer_options` of {config.quantizer!r} are {options}: {str(error).rstrip('.')}."
            ) from error
        return quantizer(config.hidden_size, **options)
    if config.fsq_levels is not None:
        return FiniteScalarQuantizer(config.hidden_size, tuple(config.fsq_levels))
    return residual_vector_quantizer(
        config.hidden_size,
        num_codebooks=config.num_codebooks,
        codebook_size=config.codebook_size,
        codebook_dim=config.codebook_dim,
        dropout=config.quantizer_dropout,
        rotation=config.rotation_trick,
        cosine=config.cosine,
        learning="ema" if config.codebook_learning == "ema" else "gradient",
        decay=config.ema_decay,
        restart_share=config.restart_share,
        kmeans_start=config.kmeans_start,
    )
