from diffusers import AutoencoderOobleck

from hf_audio_vae.models.waveform_vae.modeling_waveform_vae import WaveformVAE


def to_oobleck(model: WaveformVAE) -> AutoencoderOobleck:
    """Copy a model into diffusers' own class, for readers who do not have this package.

    Args:
        model (`WaveformVAE`): A model whose configuration `AutoencoderOobleck` can express.

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
    odd_strides = [stride for stride in config.downsampling_ratios if stride % 2]
    if config.causal:
        raise ValueError("`causal=True` cannot be written as an AutoencoderOobleck, which pads on both sides.")
    if odd_strides:
        raise ValueError(f"odd strides {odd_strides} cannot be written as an AutoencoderOobleck, which drops samples.")
    if config.encoder_hidden_size != 2 * config.decoder_input_channels:
        raise ValueError(
            f"`encoder_hidden_size` {config.encoder_hidden_size} cannot be written as an AutoencoderOobleck, which "
            f"needs twice the `decoder_input_channels`: {2 * config.decoder_input_channels}."
        )
    oobleck = AutoencoderOobleck(
        encoder_hidden_size=config.encoder_hidden_size,
        downsampling_ratios=list(config.downsampling_ratios),
        channel_multiples=list(config.channel_multiples),
        decoder_channels=config.decoder_channels,
        decoder_input_channels=config.decoder_input_channels,
        audio_channels=config.audio_channels,
        sampling_rate=config.sampling_rate,
    )
    oobleck.load_state_dict(model.state_dict())
    return oobleck.to(device=model.device, dtype=model.dtype).eval()
