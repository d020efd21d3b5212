import logging

from diffusers import AutoencoderOobleck

from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE

logger = logging.getLogger(__name__)


def to_oobleck(model: WaveformVAE) -> AutoencoderOobleck:
    """Convert a model to diffusers' own class, for users without this package.

    Statistics of the latents are left out with a warning, since that class cannot hold them.

    Args:
        model (`WaveformVAE`): A model with a configuration that `AutoencoderOobleck` supports.

    Returns:
        `AutoencoderOobleck`: Equal weights, in evaluation mode, on the model's device and dtype.

    Raises:
        ValueError: The model is causal, has an odd stride, or an encoder width that is not twice its latent width.

    Example:
        >>> model = WaveformVAE(8, (2, 4), (1, 2), 8, decoder_input_channels=4, audio_channels=1)
        >>> type(to_oobleck(model)).__name__
        'AutoencoderOobleck'
    """
    config = model.config
    check_layout(model, "an AutoencoderOobleck")
    if config.encoder_hidden_size != 2 * config.decoder_input_channels:
        raise ValueError(
            f"`encoder_hidden_size` {config.encoder_hidden_size} cannot be written as an AutoencoderOobleck, which "
            f"needs twice the `decoder_input_channels`: {2 * config.decoder_input_channels}."
        )
    warn_of_statistics(model, "an AutoencoderOobleck cannot hold them")
    oobleck = AutoencoderOobleck(
        encoder_hidden_size=config.encoder_hidden_size,
        downsampling_ratios=list(config.downsampling_ratios),
        channel_multiples=list(config.channel_multiples),
        decoder_channels=config.decoder_channels,
        decoder_input_channels=config.decoder_input_channels,
        audio_channels=config.audio_channels,
        sampling_rate=config.sampling_rate,
    )
    # `assign` also sets device and dtype; diffusers' `to` would warn about modules to keep in float32, without any.
    oobleck.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    return oobleck.eval()


def check_layout(model: WaveformVAE, target: str) -> None:
    """Raise `ValueError` unless the model pads on both sides and has even strides, as every Oobleck does."""
    odd_strides = [stride for stride in model.config.downsampling_ratios if stride % 2]
    if model.config.causal:
        raise ValueError(f"`causal=True` cannot be written as {target}, which pads on both sides.")
    if odd_strides:
        raise ValueError(f"odd strides {odd_strides} cannot be written as {target}, which drops samples.")


def warn_of_statistics(model: WaveformVAE, reason: str) -> None:
    """Warn that `latents_mean` and `latents_std` are left out, if the model has them."""
    if model.has_latent_statistics:
        logger.warning(f"`latents_mean` and `latents_std` are left out: {reason}.")
