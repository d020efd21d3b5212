"""Convolutional VAE on waveforms, a superset of diffusers' `AutoencoderOobleck` (Evans et al., arXiv:2407.14358)."""

import math

from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import AutoencoderMixin
from torch import nn

from hf_audio_vae.models.inputs import check_product, check_size_lists, check_sizes
from hf_audio_vae.models.normalization import check_statistics
from hf_audio_vae.models.variational import VariationalAutoencoderMixin
from hf_audio_vae.modules.activations import Snake1d
from hf_audio_vae.modules.convolution import WeightNormConv1d
from hf_audio_vae.modules.residual import DecoderBlock, EncoderBlock
from hf_audio_vae.modules.stack import CheckpointedStack


class WaveformEncoder(CheckpointedStack):
    """(batch, audio_channels, frames * hop_length) -> posterior parameters (batch, 2 * latent_channels, frames)."""

    def __init__(
        self,
        audio_channels: int,
        latent_channels: int,
        widths: tuple[int, ...],
        strides: tuple[int, ...],
        causal: bool,
    ) -> None:
        super().__init__()
        self.conv1 = WeightNormConv1d(audio_channels, widths[0], 7, causal=causal)
        self.block = nn.ModuleList(
            EncoderBlock(widths[i], widths[i + 1], stride=stride, causal=causal) for i, stride in enumerate(strides)
        )
        self.snake1 = Snake1d(widths[-1])
        self.conv2 = WeightNormConv1d(widths[-1], 2 * latent_channels, 3, causal=causal)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return self.conv1, *self.block, self.snake1, self.conv2


class WaveformDecoder(CheckpointedStack):
    """Latents (batch, latent_channels, frames) -> (batch, audio_channels, frames * hop_length)."""

    def __init__(
        self,
        audio_channels: int,
        latent_channels: int,
        widths: tuple[int, ...],
        strides: tuple[int, ...],
        causal: bool,
    ) -> None:
        super().__init__()
        self.conv1 = WeightNormConv1d(latent_channels, widths[0], 7, causal=causal)
        self.block = nn.ModuleList(
            DecoderBlock(widths[i], widths[i + 1], stride=stride, causal=causal) for i, stride in enumerate(strides)
        )
        self.snake1 = Snake1d(widths[-1])
        self.conv2 = WeightNormConv1d(widths[-1], audio_channels, 7, causal=causal, bias=False)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return self.conv1, *self.block, self.snake1, self.conv2


class WaveformVAE(VariationalAutoencoderMixin, ModelMixin, AutoencoderMixin, ConfigMixin):
    """1-D convolutional VAE on waveforms, with the weights and the results of diffusers' `AutoencoderOobleck`.

    Every Oobleck that can decode its own latents (`encoder_hidden_size == 2 * decoder_input_channels`, even strides)
    loads unchanged and gives the same results. This class also keeps every sample at odd strides, has an encoder width
    that is independent of the latents, can be causal, and codes long signals exactly in chunks.

    Args:
        encoder_hidden_size (`int`): Channels after the encoder's first layer.
        downsampling_ratios (`tuple[int, ...]`): Strides of the encoder's blocks; the decoder's, reversed.
        channel_multiples (`tuple[int, ...]`): Width after each encoder block, in units of `encoder_hidden_size`, and
            before each decoder block, reversed, in units of `decoder_channels`.
        decoder_channels (`int`): Channels before the decoder's last layer.
        decoder_input_channels (`int`): Latent channels (Oobleck's name for them).
        audio_channels (`int`): Channels of the waveform.
        sampling_rate (`int`): Samples per second, in Hz.
        causal (`bool`): Latent frames read no samples after their own hop, and decoded samples read no later
            frames.
        latents_mean (`tuple[float, ...]`, *optional*): Mean of each latent channel over the data, for
            `normalize_latents`; measured by `hf-audio-vae statistics`.
        latents_std (`tuple[float, ...]`, *optional*): Standard deviation of each, measured likewise.

    Raises:
        ValueError: A number is not positive, strides and multiples differ in count, or the statistics do not fit.

    Example:
        >>> model = WaveformVAE(8, (2, 5), (1, 2), 8, decoder_input_channels=4, audio_channels=1, sampling_rate=16000)
        >>> waveform = torch.randn(1, 1, 1234)
        >>> latents = model.encode(waveform).latent_dist.mode()
        >>> latents.shape, model.decode(latents).sample.shape, model(waveform).sample.shape
        (torch.Size([1, 4, 124]), torch.Size([1, 1, 1240]), torch.Size([1, 1, 1234]))
    """

    _supports_gradient_checkpointing = True
    _no_split_modules = ["EncoderBlock", "DecoderBlock"]

    @register_to_config
    def __init__(
        self,
        encoder_hidden_size: int = 128,
        downsampling_ratios: tuple[int, ...] = (2, 4, 4, 8, 8),
        channel_multiples: tuple[int, ...] = (1, 2, 4, 8, 16),
        decoder_channels: int = 128,
        decoder_input_channels: int = 64,
        audio_channels: int = 2,
        sampling_rate: int = 44100,
        causal: bool = False,
        latents_mean: tuple[float, ...] | None = None,
        latents_std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        check_sizes(
            encoder_hidden_size=encoder_hidden_size,
            decoder_channels=decoder_channels,
            decoder_input_channels=decoder_input_channels,
            audio_channels=audio_channels,
            sampling_rate=sampling_rate,
        )
        check_size_lists(downsampling_ratios=downsampling_ratios, channel_multiples=channel_multiples)
        strides, multiples = tuple(downsampling_ratios), tuple(channel_multiples)
        if len(strides) != len(multiples):
            raise ValueError(
                f"`downsampling_ratios` {strides} and `channel_multiples` {multiples} have to name the same blocks: "
                f"give one multiple per stride."
            )
        check_product("hop length", strides)
        for width in (encoder_hidden_size, decoder_channels):
            check_product("width of the widest block", (width, max(multiples)))
        if not isinstance(causal, bool):
            raise ValueError(f"`causal` is {causal!r}; it has to be true or false.")
        check_statistics(latents_mean, latents_std, decoder_input_channels)
        encoder_widths = (encoder_hidden_size, *(encoder_hidden_size * multiple for multiple in multiples))
        decoder_widths = (*(decoder_channels * multiple for multiple in multiples[::-1]), decoder_channels)
        self.encoder = WaveformEncoder(audio_channels, decoder_input_channels, encoder_widths, strides, causal)
        self.decoder = WaveformDecoder(audio_channels, decoder_input_channels, decoder_widths, strides[::-1], causal)
        self.coder = self.new_coder()

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return math.prod(self.config.downsampling_ratios)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.config.decoder_input_channels
