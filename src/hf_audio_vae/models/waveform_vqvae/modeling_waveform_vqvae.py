"""Neural codec: waveform to codes and back, a superset of DAC (arXiv:2306.06546) and EnCodec (arXiv:2210.13438)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedAudioTokenizerBase

from hf_audio_vae.audio.framing import frame_count, pad_to_frames
from hf_audio_vae.models.fusing import FusedMixin, chunks_itself
from hf_audio_vae.models.initialization import start_weights
from hf_audio_vae.models.inputs import check_codes, check_sampling_rate
from hf_audio_vae.models.padding import by_length, checked_waveform, valid_mask
from hf_audio_vae.models.streaming import StreamingVQVAEMixin
from hf_audio_vae.models.tiling import TilingMixin
from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.loudness import loudness, scaled
from hf_audio_vae.models.waveform_vqvae.outputs import (
    WaveformVQVAEDecoderOutput,
    WaveformVQVAEEncoderOutput,
    WaveformVQVAEOutput,
)
from hf_audio_vae.models.waveform_vqvae.parts import new_quantizer, seanet_layers
from hf_audio_vae.modules.chunking import decode_in_chunks, encode_in_chunks
from hf_audio_vae.modules.deferral import deferring_checks
from hf_audio_vae.modules.quantization import Quantizer, VectorQuantizer
from hf_audio_vae.modules.seanet import SEANetDecoder, SEANetEncoder


@dataclass(frozen=True)
class _Spanned:
    """A function over time, and what its outputs read."""

    run: Callable[[Tensor], Tensor]
    span: Callable[[int, int], tuple[int, int]]

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.span(start, stop)


class WaveformVQVAE(TilingMixin, StreamingVQVAEMixin, FusedMixin, PreTrainedAudioTokenizerBase):
    """Convolutional codec on waveforms with residual vector quantization, or finite scalar quantization.

    One skeleton of layers, of which DAC and EnCodec are two configurations: `convert_dac` and `convert_encodec` read
    and write theirs. Beyond them, it keeps every sample at odd strides, trains through any of its quantizers, codes
    long signals exactly in chunks, and gives an item the codes it has alone, whatever it is padded to in a batch.

    Args:
        config (`WaveformVQVAEConfig`): Describes every part.

    Example:
        >>> config = WaveformVQVAEConfig(encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=(2, 5),
        ...     hidden_size=16, num_codebooks=3, codebook_size=64, sampling_rate=16000)
        >>> model = WaveformVQVAE(config).eval()
        >>> waveform = torch.randn(1, 1, 1234)
        >>> codes = model.encode(waveform).audio_codes
        >>> codes.shape, model.decode(codes).audio_values.shape, model(waveform).audio_values.shape
        (torch.Size([1, 3, 124]), torch.Size([1, 1, 1240]), torch.Size([1, 1, 1234]))
        >>> model.decode(codes[:, :1]).audio_values.shape, model.bits_per_second  # one codebook of three is enough
        (torch.Size([1, 1, 1240]), 28800.0)
    """

    config: WaveformVQVAEConfig
    config_class = WaveformVQVAEConfig
    base_model_prefix = "waveform_vqvae"
    main_input_name = "input_values"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SEANetEncoderBlock", "SEANetDecoderBlock", "SkipLSTM", "VectorQuantizer"]

    def __init__(self, config: WaveformVQVAEConfig) -> None:
        super().__init__(config)
        strides = tuple(config.downsampling_ratios)
        layers = seanet_layers(config)
        self.encoder = SEANetEncoder(
            config.audio_channels,
            config.hidden_size,
            config.encoder_hidden_size,
            strides,
            layers,
            kernel_size=config.kernel_size,
            last_kernel_size=config.encoder_last_kernel_size,
            num_lstm_layers=config.num_lstm_layers,
        )
        self.quantizer: Quantizer = new_quantizer(config)
        self.decoder = SEANetDecoder(
            config.audio_channels,
            config.hidden_size,
            config.decoder_hidden_size,
            strides[::-1],
            layers,
            kernel_size=config.kernel_size,
            last_kernel_size=config.decoder_last_kernel_size,
            num_lstm_layers=config.num_lstm_layers,
            final_tanh=config.final_tanh,
        )
        self.encoder_is_frozen = False
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Start what was not loaded; transformers calls this for every module."""
        start_weights(module)

    @property
    def hop_length(self) -> int:
        """Samples a frame."""
        return self.config.hop_length

    @property
    def sampling_rate(self) -> int:
        """Samples a second, in Hz."""
        return self.config.sampling_rate

    @property
    def frame_rate(self) -> float:
        """Frames a second, in Hz."""
        return self.sampling_rate / self.hop_length

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook."""
        return self.quantizer.codebook_sizes

    @property
    def num_codebooks(self) -> int:
        """Codes a frame."""
        return len(self.codebook_sizes)

    @property
    def bits_per_second(self) -> float:
        """Bits a second that the codes take, each as many as its codebook needs."""
        return self.frame_rate * sum(math.log2(size) for size in self.codebook_sizes)

    def enable_tiling(self, tile_frames: int | None = None) -> None:
        """Encode and decode in chunks: the same result as at once, at a memory that does not grow with the length.

        A chunk's window holds the frames around it, too, that its result depends on. An LSTM depends on all that was
        before, so it goes over all frames at once: what it reads and returns, at the rate of the frames and not of the
        samples, is in memory as a whole.

        Args:
            tile_frames (`int`, *optional*): Frames a chunk. Windows then have one shape for signals longer than a
                window, as networks compiled for static shapes need it; a shorter signal has its own, and an LSTM meets
                a shape for every length. If not given, chunks of like length, as few as there can be of
                `default_tile_frames`.

        Raises:
            ValueError: `tile_frames` is less than 1, or the model normalises over time.
        """
        if self.config.norm == "time_group_norm":
            raise ValueError(
                '`norm="time_group_norm"` makes every frame depend on the whole signal: chunks cannot equal it; cut '
                "the signal where it may be cut, or use a model with weight norm."
            )
        super().enable_tiling(tile_frames)

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """Encoder and decoder."""
        return self.encoder, self.decoder

    def freeze_encoder(self) -> None:
        """Train the decoder alone: encoder and quantizer take no more gradients, codebooks stop learning.

        Quantizer dropout goes on, so that the decoder still learns every number of codebooks.
        """
        self.encoder_is_frozen = True
        self.encoder.requires_grad_(False)
        self.quantizer.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "WaveformVQVAE":
        """Set training mode, in which codebooks learn unless the encoder is frozen."""
        super().train(mode)
        if self.encoder_is_frozen:
            for module in self.quantizer.modules():
                if isinstance(module, VectorQuantizer):
                    module.eval()
        return self

    @deferring_checks
    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_codebooks: int | None = None,
        *,
        sampling_rate: int | None = None,
        return_dict: bool = True,
    ) -> WaveformVQVAEEncoderOutput | tuple[Tensor, ...]:
        """Encode a waveform into codes.

        Args:
            input_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1], any time >= 1;
                zeros are appended up to a whole frame.
            padding_mask (`torch.Tensor` of shape `(batch, time)` or `(batch, 1, time)`, *optional*): True where there
                is sound; padding is on the right, and what is there does not matter.
            num_codebooks (`int`, *optional*): How many of the codebooks, the first ones; all, if not given.
            sampling_rate (`int`, *optional*): The waveform's, in Hz, to have it checked against the model's.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `WaveformVQVAEEncoderOutput`, or a tuple of those of its fields that are there: codes are (batch,
            num_codebooks, frames), with `frames = ceil(time / hop_length)`.

        Raises:
            ValueError: Wrong rank, channel count, dtype or sampling rate; empty, NaN or infinite; a mask that does
                not fit; more codebooks than there are.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        waveform, valid = checked_waveform(input_values, padding_mask, self.config.audio_channels)
        frames_mask = self._frames_mask(valid)
        waveform, scales = self._normalized(waveform, valid)

        def code(items: Tensor) -> Tensor:
            return self._codes(items, num_codebooks)

        codes = by_length(code, waveform, frames_mask, self.hop_length, 1)
        output = WaveformVQVAEEncoderOutput(codes, frames_mask, scales)
        return output if return_dict else output.to_tuple()

    @deferring_checks
    def decode(
        self,
        audio_codes: Tensor,
        audio_codes_mask: Tensor | None = None,
        *,
        audio_scales: Tensor | None = None,
        return_dict: bool = True,
    ) -> WaveformVQVAEDecoderOutput | tuple[Tensor]:
        """Decode codes into a waveform.

        Args:
            audio_codes (`torch.Tensor` of shape `(batch, num_codebooks, frames)`): Codes of all codebooks, or of the
                first ones.
            audio_codes_mask (`torch.Tensor` of shape `(batch, frames)`, *optional*): True where there is sound, as
                `encode` returns it; the waveform is 0 elsewhere.
            audio_scales (`torch.Tensor` of shape `(batch, 1)`, *optional*): What `encode` divided by; needed if the
                model normalizes.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `WaveformVQVAEDecoderOutput`, or `(audio_values,)`: (batch, audio_channels, frames * hop_length).

        Raises:
            ValueError: Wrong rank, dtype or codebook count; empty or out of range; a mask that does not fit; scales
                missing or not expected.
        """
        check_codes(audio_codes, self.codebook_sizes)
        self._check_scales(audio_scales, audio_codes.shape[0])
        batch, _, frames = audio_codes.shape
        mask = audio_codes_mask
        valid = None if mask is None else valid_mask(mask, batch, frames, "audio_codes_mask")
        audio = by_length(self._audio_of_codes, audio_codes.long(), valid, 1, self.hop_length)
        if audio_scales is not None:
            audio = scaled(audio, audio_scales)
        return WaveformVQVAEDecoderOutput(audio) if return_dict else (audio,)

    @deferring_checks
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_codebooks: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> WaveformVQVAEOutput | tuple[Tensor, ...]:
        """Encode and decode; what training calls. In training mode, codebooks learn from what they code.

        Args:
            input_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1].
            padding_mask (`torch.Tensor` of shape `(batch, time)` or `(batch, 1, time)`, *optional*): True where there
                is sound; padding is in no loss and teaches no codebook.
            num_codebooks (`int`, *optional*): How many of the codebooks, the first ones; all, if not given.
            generator (`torch.Generator` or a list of them, one an item, *optional*): Where quantizer dropout draws
                from.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `WaveformVQVAEOutput`, or a tuple of those of its fields that are there.

        Raises:
            ValueError: As `encode`, but for latents that are not finite: training has to see the loss that comes of
                them.
        """
        waveform, valid = checked_waveform(input_values, padding_mask, self.config.audio_channels)
        frames_mask = self._frames_mask(valid)
        normalized, scales = self._normalized(waveform, valid)
        latents = by_length(self._latents, normalized, frames_mask, self.hop_length, 1)
        quantized = self.quantizer(latents, frames_mask, num_codebooks, generator)
        audio = by_length(self._audio, quantized.quantized, frames_mask, 1, self.hop_length)
        audio = audio[..., : waveform.shape[-1]]
        if scales is not None:
            audio = scaled(audio, scales)
        codes = quantized.codes
        if valid is not None and frames_mask is not None:
            audio, codes = audio * valid[:, None], codes * frames_mask[:, None]
        output = WaveformVQVAEOutput(audio, codes, frames_mask, quantized.losses)
        return output if return_dict else output.to_tuple()

    def _frames_mask(self, valid: Tensor | None) -> Tensor | None:
        """Which frames hold a sample; (batch, time) -> (batch, frames)."""
        return None if valid is None else valid[:, :: self.hop_length]

    def _normalized(self, waveform: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Divide each item by its loudness, if the model does so; also (batch, 1), what it was divided by."""
        if not self.config.normalize:
            return waveform, None
        scales = loudness(waveform, valid)
        return (waveform / scales[..., None]).to(waveform.dtype), scales

    def _check_scales(self, scales: Tensor | None, batch: int) -> None:
        if (scales is not None) != self.config.normalize:
            needed = "needs" if self.config.normalize else "takes no"
            raise ValueError(
                f"the model has `normalize={self.config.normalize}` and {needed} `audio_scales`; pass them along with "
                f"the codes exactly where `encode` returns them."
            )
        if scales is not None and scales.shape != (batch, 1):
            raise ValueError(f"`audio_scales` has shape {tuple(scales.shape)}, expected ({batch}, 1), one an item.")

    def _codes(self, waveform: Tensor, num_codebooks: int | None) -> Tensor:
        """(batch, audio_channels, time) -> (batch, num_codebooks, frames)."""
        frames = frame_count(waveform.shape[-1], self.hop_length)
        encoder = self._form(waveform).encoder
        if not self._in_tiles(encoder, frames) or self.config.num_lstm_layers:
            return self.quantizer.encode(self._latents(waveform), num_codebooks)

        def code(window: Tensor) -> Tensor:
            return self.quantizer.encode(encoder(window), num_codebooks)

        spanned = _Spanned(code, encoder.input_span)
        return encode_in_chunks(spanned, waveform, self.hop_length, self._chunk_frames(frames))

    def _latents(self, waveform: Tensor) -> Tensor:
        """(batch, audio_channels, time) -> (batch, hidden_size, frames)."""
        frames = frame_count(waveform.shape[-1], self.hop_length)
        encoder = self._form(waveform).encoder
        if chunks_itself(encoder):
            return encoder(waveform, frames * self.hop_length)
        if not self._in_tiles(encoder, frames):
            return encoder(pad_to_frames(waveform, self.hop_length))
        spanned = _Spanned(encoder.downsample, encoder.downsample_span)
        chunk_frames = self._chunk_frames(frames)
        return encoder.finish(encode_in_chunks(spanned, waveform, self.hop_length, chunk_frames))

    def _audio_of_codes(self, codes: Tensor) -> Tensor:
        """(batch, num_codebooks, frames) -> (batch, audio_channels, frames * hop_length)."""
        decoder = self._form(codes).decoder
        if not self._in_tiles(decoder, codes.shape[-1]) or self.config.num_lstm_layers:
            return self._audio(self.quantizer.decode(codes))

        def decode(window: Tensor) -> Tensor:
            return decoder(self.quantizer.decode(window))

        spanned = _Spanned(decode, decoder.input_span)
        return decode_in_chunks(spanned, codes, self.hop_length, self._chunk_frames(codes.shape[-1]))

    def _audio(self, latents: Tensor) -> Tensor:
        """(batch, hidden_size, frames) -> (batch, audio_channels, frames * hop_length)."""
        decoder = self._form(latents).decoder
        if not self._in_tiles(decoder, latents.shape[-1]):
            return decoder(latents)
        spanned = _Spanned(decoder.upsample, decoder.upsample_span)
        chunk_frames = self._chunk_frames(latents.shape[-1])
        return decode_in_chunks(spanned, decoder.begin(latents), self.hop_length, chunk_frames)
