"""VAE on STFT frames: ConvNeXt blocks over complex spectra, and an inverse STFT."""

import math

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import AutoencoderMixin

from hf_audio_vae.models.inputs import check_sizes
from hf_audio_vae.models.normalization import check_statistics
from hf_audio_vae.models.short_time import ShortTimeStages
from hf_audio_vae.models.variational import VariationalAutoencoderMixin


class STFTVAE(VariationalAutoencoderMixin, ModelMixin, AutoencoderMixin, ConfigMixin):
    """VAE on the frames of a short-time Fourier transform: waveform in, waveform out.

    The encoder compresses the magnitude of complex spectra (all channels of a frame together), applies ConvNeXt blocks
    with strides, and returns the posterior. The decoder mirrors it and ends with an inverse STFT, as Vocos (Siuzdak,
    arXiv:2306.00814). All blocks run at the frame rate or below.

    Args:
        downsampling_ratios (`tuple[int, ...]`): Hop of the STFT in samples, then the strides between the stages.
        hidden_sizes (`tuple[int, ...]`): Channels of each stage of the encoder; the decoder's, reversed. There is one
            stage after the STFT and one after each stride.
        num_blocks (`tuple[int, ...]`): ConvNeXt blocks of each stage.
        latent_channels (`int`): Channels of the latents.
        audio_channels (`int`): Channels of the waveform.
        sampling_rate (`int`): Samples per second, in Hz.
        window_length (`int`): Samples per window of the STFT, two or more hops.
        magnitude_exponent (`float`): Exponent that compresses magnitudes, in (0, 1].
        kernel_size (`int`): Taps of the depthwise convolutions, in frames.
        expansion (`float`): Hidden channels of a block, in units of its channels.
        causal (`bool`): Convolutions read no later frames. The latency is then that of the windows and strides
            (`algorithmic_latency`).
        latents_mean (`tuple[float, ...]`, *optional*): Mean of each latent channel over the data, for
            `normalize_latents`; measured by `hf-audio-vae statistics`.
        latents_std (`tuple[float, ...]`, *optional*): Standard deviation of each, measured likewise.

    Raises:
        ValueError: A number is out of range, the stages differ in count, or the statistics do not fit.

    Example:
        >>> model = STFTVAE((64, 2), (16, 24), (1, 1), 4, window_length=256)
        >>> waveform = torch.randn(1, 1, 1000)
        >>> latents = model.encode(waveform).latent_dist.mode()
        >>> latents.shape, model.decode(latents).sample.shape, model(waveform).sample.shape
        (torch.Size([1, 4, 8]), torch.Size([1, 1, 1024]), torch.Size([1, 1, 1000]))
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["ShortTimeStage", "ConvNeXtBlock"]

    @register_to_config
    def __init__(
        self,
        downsampling_ratios: tuple[int, ...] = (256, 2),
        hidden_sizes: tuple[int, ...] = (256, 256),
        num_blocks: tuple[int, ...] = (4, 2),
        latent_channels: int = 32,
        audio_channels: int = 1,
        sampling_rate: int = 24000,
        window_length: int = 1024,
        magnitude_exponent: float = 0.35,
        kernel_size: int = 7,
        expansion: float = 3.0,
        causal: bool = False,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(latent_channels=latent_channels, sampling_rate=sampling_rate)
        stages = ShortTimeStages(
            downsampling_ratios,
            hidden_sizes,
            num_blocks,
            audio_channels,
            window_length,
            magnitude_exponent,
            kernel_size,
            expansion,
            causal,
        )
        check_statistics(latents_mean, latents_std, latent_channels)
        self.encoder = stages.encoder(2 * latent_channels)
        self.decoder = stages.decoder(latent_channels)
        self.coder = self.new_coder()

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return math.prod(self.config.downsampling_ratios)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.config.latent_channels
