"""Convolutional VAE on waveforms, a superset of diffusers' `AutoencoderOobleck` (Evans et al., arXiv:2407.14358)."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import AutoencoderMixin
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn

from hf_audio_vae.models.coding import CodingMixin, by_item
from hf_audio_vae.models.inputs import check_latents, check_sampling_rate, check_waveform
from hf_audio_vae.models.normalization import NormalizedLatentsMixin, check_statistics
from hf_audio_vae.models.waveform_vae.outputs import (
    WaveformVAEDecoderOutput,
    WaveformVAEEncoderOutput,
    WaveformVAEOutput,
)
from hf_audio_vae.modules.activations import Snake1d
from hf_audio_vae.modules.convolution import WeightNormConv1d
from hf_audio_vae.modules.deferral import deferring_checks
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.modules.residual import DecoderBlock, EncoderBlock
from hf_audio_vae.modules.stack import CheckpointedStack
from hf_audio_vae.runtime.coders import Coding
from hf_audio_vae.runtime.streaming import AlgorithmicLatency, Streaming, latency_of, new_streaming


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


class WaveformVAE(CodingMixin, NormalizedLatentsMixin, ModelMixin, AutoencoderMixin, ConfigMixin):
    """1-D convolutional VAE on waveforms, with the weights and the results of diffusers' `AutoencoderOobleck`.

    Every Oobleck that can decode its own latents (`encoder_hidden_size == 2 * decoder_input_channels`, even strides)
    loads as it is and gives the same numbers. This class also keeps every sample at odd strides, frees the encoder's
    width from the latents', can be causal, and codes long signals exactly in chunks.

    Args:
        encoder_hidden_size (`int`): Channels after the encoder's first layer.
        downsampling_ratios (`tuple[int, ...]`): Strides of the encoder's blocks; the decoder's, reversed.
        channel_multiples (`tuple[int, ...]`): Width after each encoder block, in units of `encoder_hidden_size`, and
            before each decoder block, reversed, in units of `decoder_channels`.
        decoder_channels (`int`): Channels before the decoder's last layer.
        decoder_input_channels (`int`): Latent channels (Oobleck's name for them).
        audio_channels (`int`): Channels of the waveform.
        sampling_rate (`int`): Samples a second the model was made for, in Hz.
        causal (`bool`): No frame of latents reads a sample after its own hop, no decoded sample a later frame.
        latents_mean (`tuple[float, ...]`, *optional*): Mean of each latent channel over the data, for
            `normalize_latents`; measured by `training/encode_latents.py`.
        latents_std (`tuple[float, ...]`, *optional*): Standard deviation of each, likewise.

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
        strides, multiples = tuple(downsampling_ratios), tuple(channel_multiples)
        numbers = [encoder_hidden_size, decoder_channels, decoder_input_channels, audio_channels, sampling_rate]
        if min((*numbers, *strides, *multiples)) < 1:
            raise ValueError(f"every size has to be 1 or more, got {numbers}, {strides} and {multiples}.")
        if len(strides) != len(multiples) or not strides:
            raise ValueError(
                f"`downsampling_ratios` {strides} and `channel_multiples` {multiples} have to name the same blocks: "
                f"give one multiple a stride, and at least one of each."
            )
        check_statistics(latents_mean, latents_std, decoder_input_channels)
        encoder_widths = (encoder_hidden_size, *(encoder_hidden_size * multiple for multiple in multiples))
        decoder_widths = (*(decoder_channels * multiple for multiple in multiples[::-1]), decoder_channels)
        self.encoder = WaveformEncoder(audio_channels, decoder_input_channels, encoder_widths, strides, causal)
        self.decoder = WaveformDecoder(audio_channels, decoder_input_channels, decoder_widths, strides[::-1], causal)
        self.use_slicing = False
        self.coder = self.new_coder()

    def register_to_config(self, **arguments: object) -> None:
        """Keep the arguments and, beside them, the latents' width under the name that `StableAudio3Pipeline` reads."""
        super().register_to_config(**arguments)
        self.config.latent_dim = self.latent_channels  # an attribute, no key: not saved, no argument

    @property
    def hop_length(self) -> int:
        """Samples a latent frame."""
        return math.prod(self.config.downsampling_ratios)

    @property
    def downsampling_ratio(self) -> int:
        """`hop_length`, by the name that `StableAudio3Pipeline` reads."""
        return self.hop_length

    @property
    def latent_channels(self) -> int:
        """Width of the latents."""
        return self.config.decoder_input_channels

    @property
    def sampling_rate(self) -> int:
        """Samples a second, in Hz."""
        return self.config.sampling_rate

    @property
    def frame_rate(self) -> float:
        """Latent frames a second, in Hz."""
        return self.sampling_rate / self.hop_length

    def encodings(self) -> tuple[Coding]:
        """From waveforms to the parameters of posteriors."""
        return (Coding(self.encoder, self.hop_length),)

    def decodings(self) -> tuple[Coding]:
        """From latents to waveforms."""
        return (Coding(self.decoder, self.hop_length),)

    @property
    def algorithmic_latency(self) -> AlgorithmicLatency:
        """Samples until a sample's latents and its reconstruction are determined, from the layers' spans."""
        return latency_of(*self.encodings(), *self.decodings(), sampling_rate=self.sampling_rate)

    def freeze_encoder(self) -> None:
        """Train the decoder alone: the encoder takes no more gradients."""
        self.encoder.requires_grad_(False)

    @apply_forward_hook
    @deferring_checks
    def encode(
        self, x: Tensor, return_dict: bool = True, *, sampling_rate: int | None = None
    ) -> WaveformVAEEncoderOutput | tuple[DiagonalGaussian]:
        """Encode a waveform into the posterior over its latents.

        Args:
            x (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1], any time >= 1; zeros
                are appended up to a whole frame.
            return_dict (`bool`): Return an output object rather than a tuple.
            sampling_rate (`int`, *optional*): The waveform's, in Hz, to have it checked against the model's.

        Returns:
            `WaveformVAEEncoderOutput`, or `(latent_dist,)`: latents are (batch, latent_channels, frames), with
            `frames = ceil(time / hop_length)`.

        Raises:
            ValueError: Wrong rank, channel count, dtype or sampling rate; empty, NaN or infinite.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        check_waveform(x, self.config.audio_channels)
        posterior = self._encode(x)
        return WaveformVAEEncoderOutput(latent_dist=posterior) if return_dict else (posterior,)

    @apply_forward_hook
    def encode_chunks(self, read: Callable[[int, int], Tensor], time: int) -> Iterator[DiagonalGaussian]:
        """Encode a signal that is too long to be in memory, `tile_frames` at a time: the same posterior as `encode`'s.

        Args:
            read (`Callable[[int, int], torch.Tensor]`): `read(start, stop)` returns these samples, (batch,
                audio_channels, stop - start). Those near the edges of chunks are asked for twice.
            time (`int`): Samples there are, 1 or more.

        Yields:
            `DiagonalGaussian`: The posterior's next frames, (batch, latent_channels, frames), `tile_frames` or fewer.

        Raises:
            ValueError: `time` is less than 1; or as `encode`, for what `read` returns.
        """
        if time < 1:
            raise ValueError(f"`time` is {time}; pass a signal of at least 1 sample, and leave out empty ones.")

        def checked(start: int, stop: int) -> Tensor:
            waveform = read(start, stop)
            check_waveform(waveform, self.config.audio_channels)
            return waveform

        (encoding,) = self.encodings()
        for parameters in self.coder.encode_pieces(encoding, checked, time):
            yield DiagonalGaussian.from_parameters(parameters)

    @apply_forward_hook
    @deferring_checks
    def decode(
        self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None
    ) -> WaveformVAEDecoderOutput | tuple[Tensor]:
        """Decode latents into a waveform.

        Args:
            z (`torch.Tensor` of shape `(batch, latent_channels, frames)`): Latents, frames >= 1.
            return_dict (`bool`): Return an output object rather than a tuple.
            generator (`torch.Generator`, *optional*): Unused, since decoding is deterministic; diffusers' pipelines
                pass it.

        Returns:
            `WaveformVAEDecoderOutput`, or `(sample,)`: (batch, audio_channels, frames * hop_length).

        Raises:
            ValueError: Wrong rank, channel count or dtype; empty, NaN or infinite.
        """
        check_latents(z, self.latent_channels)
        sample = self._decode(z)
        return WaveformVAEDecoderOutput(sample=sample) if return_dict else (sample,)

    @deferring_checks
    def forward(
        self,
        sample: Tensor,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> WaveformVAEOutput | tuple[Tensor]:
        """Encode and decode; what training calls.

        Args:
            sample (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1].
            sample_posterior (`bool`): Decode a draw from the posterior, as the ELBO asks, rather than its mean.
            return_dict (`bool`): Return an output object rather than a tuple.
            generator (`torch.Generator` or a list of them, one an item, *optional*): Where the draw comes from.

        Returns:
            `WaveformVAEOutput`, or `(sample,)`.

        Raises:
            ValueError: As `encode`.
        """
        posterior = self.encode(sample).latent_dist
        latents = posterior.sample(generator) if sample_posterior else posterior.mode()
        # Not `decode`: if weights or half precision overflow, training has to see the loss that comes of it.
        decoded = self._decode(latents)[..., : sample.shape[-1]]
        if not return_dict:
            return (decoded,)
        losses = {"kl": posterior.kl().sum(dim=1).mean()}
        return WaveformVAEOutput(sample=decoded, losses=losses, latent_dist=posterior)

    def streaming(self) -> Streaming[DiagonalGaussian]:
        """Return an encoder and a decoder for a signal that comes in pieces, with a copy of the weights.

        Their outputs, concatenated, are those of `encode` and `decode` within rounding, whatever the pieces. Each
        output is computed once, as soon as it is determined. What is kept for later outputs does not grow.

        Example:
            >>> model = WaveformVAE(8, (2, 5), (1, 2), 8, 4, audio_channels=1, sampling_rate=16000, causal=True).eval()
            >>> model.algorithmic_latency.total, model.algorithmic_latency.seconds
            (10, 0.000625)
            >>> streaming = model.streaming()
            >>> for piece in torch.randn(1, 1, 29).split(8, dim=-1):
            ...     latents = streaming.encoder.push(piece).mode()
            ...     print(latents.shape[-1], streaming.decoder.push(latents).shape[-1])
            0 0
            1 10
            1 10
            0 0
            >>> streaming.encoder.flush().mean.shape  # zeros complete the last frame
            torch.Size([1, 4, 1])
        """
        return new_streaming(
            *self.encodings(),
            *self.decodings(),
            check_waveform=partial(check_waveform, audio_channels=self.config.audio_channels),
            check_frames=partial(check_latents, latent_channels=self.latent_channels),
            wrap=DiagonalGaussian.from_parameters,
            unit=self.hop_length,
            sampling_rate=self.sampling_rate,
        )

    def _encode(self, waveform: Tensor) -> DiagonalGaussian:
        encode = partial(self.coder.encode, *self.encodings())
        return DiagonalGaussian.from_parameters(self._run(encode, waveform))

    def _decode(self, latents: Tensor) -> Tensor:
        return self._run(partial(self.coder.decode, *self.decodings()), latents)

    def _run(self, code: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return by_item(code, x) if self.use_slicing and x.shape[0] > 1 else code(x)
