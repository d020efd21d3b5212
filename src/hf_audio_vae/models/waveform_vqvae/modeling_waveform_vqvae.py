"""Neural codec: waveform to codes and back, a superset of DAC (arXiv:2306.06546) and EnCodec (arXiv:2210.13438)."""

import math
from functools import partial

import torch
from torch import Tensor
from transformers.modeling_utils import PreTrainedAudioTokenizerBase

from hf_audio_vae.models.inputs import (
    check_codes,
    check_sampling_rate,
    check_tensor,
    check_waveform,
)
from hf_audio_vae.models.padding import by_length, checked_waveform, valid_mask
from hf_audio_vae.models.transformers_autoencoder import TransformersAutoencoderMixin
from hf_audio_vae.models.waveform_vqvae.configuration_waveform_vqvae import WaveformVQVAEConfig
from hf_audio_vae.models.waveform_vqvae.loudness import loudness, scaled
from hf_audio_vae.models.waveform_vqvae.outputs import (
    WaveformVQVAEDecoderOutput,
    WaveformVQVAEEncoderOutput,
    WaveformVQVAEOutput,
)
from hf_audio_vae.models.waveform_vqvae.parts import new_decoder, new_encoder, new_quantizer
from hf_audio_vae.modules.deferral import deferring_checks, require
from hf_audio_vae.modules.finite import check_output
from hf_audio_vae.modules.quantization import Quantizer
from hf_audio_vae.runtime.coders import Coding, identity
from hf_audio_vae.runtime.streaming import AlgorithmicLatency, Streaming, latency_of, new_streaming


class WaveformVQVAE(TransformersAutoencoderMixin, PreTrainedAudioTokenizerBase):  # type: ignore[misc]
    """Convolutional codec on waveforms with residual vector quantization, or finite scalar quantization.

    DAC and EnCodec are two configurations of it; `convert_dac` and `convert_encodec` read and write their files. With
    `stft_options`, its networks are those of `STFTVAE`. It
    also keeps every sample at odd strides, trains through any of its quantizers, codes long signals exactly in chunks,
    and gives an item the same codes with any padding in a batch.

    Args:
        config (`WaveformVQVAEConfig`): Layers and quantizer of the model.

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
    _no_split_modules = [
        "SEANetEncoderBlock",
        "SEANetDecoderBlock",
        "SkipLSTM",
        "ShortTimeStage",
        "ConvNeXtBlock",
        "VectorQuantizer",
    ]

    def __init__(self, config: WaveformVQVAEConfig) -> None:
        super().__init__(config)
        self.encoder = new_encoder(config)
        self.quantizer: Quantizer = new_quantizer(config)
        self.decoder = new_decoder(config)
        self.coder = self.new_coder()
        self.post_init()

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return self.config.hop_length

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook."""
        return self.quantizer.codebook_sizes

    @property
    def num_codebooks(self) -> int:
        """Codes per frame."""
        return len(self.codebook_sizes)

    @property
    def bits_per_second(self) -> float:
        """Bits per second of the codes, each with `log2` of its codebook size."""
        return self.frame_rate * sum(math.log2(size) for size in self.codebook_sizes)

    @property
    def codes_need_scales(self) -> bool:
        """Whether codes lack the loudness, because the model divides a waveform by it."""
        return self.config.normalize

    def encodings(self, num_codebooks: int | None = None) -> tuple[Coding]:
        """From waveforms to codes of the first `num_codebooks` codebooks, all if not given."""
        after = partial(self.quantizer.encode, num_codebooks=num_codebooks)
        return (Coding(self.encoder, self.hop_length, after=after),)

    def decodings(self) -> tuple[Coding]:
        """From codes to waveforms."""
        return (Coding(self.decoder, self.hop_length, before=self.quantizer.decode),)

    @property
    def algorithmic_latency(self) -> AlgorithmicLatency:
        """Samples until the codes and the reconstruction of a sample are determined, from the layers' spans.

        Raises:
            ValueError: An output of the model depends on the whole signal.
        """
        self._check_streamable()
        return latency_of(*self.encodings(), *self.decodings(), sampling_rate=self.sampling_rate)

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
                is sound; padding is on the right, and its values are ignored.
            num_codebooks (`int`, *optional*): Number of the first codebooks to use; all if not given.
            sampling_rate (`int`, *optional*): Sampling rate of the waveform in Hz, checked against the model's.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `WaveformVQVAEEncoderOutput`, or a tuple of its fields that are not None: codes are (batch,
            num_codebooks, frames), with `frames = ceil(time / hop_length)`.

        Raises:
            ValueError: Wrong rank, channel count, dtype or sampling rate; empty, NaN or infinite; a mask that does
                not fit; more codebooks than there are.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        waveform, valid = checked_waveform(input_values, padding_mask, self.config.audio_channels)
        frames_mask = self._frames_mask(valid)
        waveform, scales = self._normalized(waveform, valid)

        encode = partial(self.coder.encode, *self.encodings(num_codebooks))
        codes = by_length(encode, waveform, frames_mask, self.hop_length, 1)
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
            audio_scales (`torch.Tensor` of shape `(batch, 1)`, *optional*): Divisors from `encode`; needed if the
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
        decode = partial(self.coder.decode, *self.decodings())
        audio = by_length(decode, audio_codes.long(), valid, 1, self.hop_length)
        if audio_scales is not None:
            audio = scaled(audio, audio_scales)
        check_output(audio, "samples")
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
        """Encode and decode, as in training. In training mode, codebooks learn.

        Args:
            input_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1].
            padding_mask (`torch.Tensor` of shape `(batch, time)` or `(batch, 1, time)`, *optional*): True where there
                is sound; padding is excluded from losses and codebook updates.
            num_codebooks (`int`, *optional*): Number of the first codebooks to use; all if not given.
            generator (`torch.Generator` or a list, one per item, *optional*): Random source of quantizer
                dropout.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `WaveformVQVAEOutput`, or a tuple of its fields that are not None.

        Raises:
            ValueError: As `encode`, except for latents that are not finite: training has to see the resulting loss.
        """
        waveform, valid = checked_waveform(input_values, padding_mask, self.config.audio_channels)
        frames_mask = self._frames_mask(valid)
        normalized, scales = self._normalized(waveform, valid)
        encode = partial(self.coder.encode, Coding(self.encoder, self.hop_length))
        decode = partial(self.coder.decode, Coding(self.decoder, self.hop_length))
        latents = by_length(encode, normalized, frames_mask, self.hop_length, 1)
        quantized = self.quantizer(latents, frames_mask, num_codebooks, generator)
        audio = by_length(decode, quantized.quantized, frames_mask, 1, self.hop_length)
        audio = audio[..., : waveform.shape[-1]]
        if scales is not None:
            audio = scaled(audio, scales)
        codes = quantized.codes
        if valid is not None and frames_mask is not None:
            audio, codes = audio * valid[:, None], codes * frames_mask[:, None]
        output = WaveformVQVAEOutput(audio, codes, frames_mask, quantized.losses)
        return output if return_dict else output.to_tuple()

    def streaming(self, num_codebooks: int | None = None) -> Streaming[Tensor]:
        """Return a streaming encoder and decoder with a copy of the weights.

        Their concatenated outputs equal those of `encode` and `decode` within rounding, for pieces of any length. Each
        output is computed once, as soon as it is determined. The state does not grow.

        Args:
            num_codebooks (`int`, *optional*): Number of the first codebooks to encode with; all if not given.

        Raises:
            ValueError: An output of the model depends on the whole signal, or the model has fewer codebooks.

        Example:
            >>> config = WaveformVQVAEConfig(encoder_hidden_size=4, decoder_hidden_size=16, downsampling_ratios=(2, 5),
            ...     hidden_size=16, num_codebooks=3, codebook_size=64, causal=True)
            >>> model = WaveformVQVAE(config).eval()
            >>> streaming = model.streaming()
            >>> codes = streaming.encoder.push(torch.randn(1, 1, 25))
            >>> codes.shape, streaming.decoder.push(codes).shape, streaming.encoder.flush().shape
            (torch.Size([1, 3, 2]), torch.Size([1, 1, 20]), torch.Size([1, 3, 1]))
        """
        self._check_streamable()
        return new_streaming(
            *self.encodings(self.quantizer.checked_count(num_codebooks)),
            *self.decodings(),
            check_waveform=partial(check_waveform, audio_channels=self.config.audio_channels),
            check_frames=partial(check_codes, codebook_sizes=self.codebook_sizes),
            wrap=identity,
            pad_multiple=self.hop_length,
            sampling_rate=self.sampling_rate,
            dtype=self.dtype,
        )

    def _frames_mask(self, valid: Tensor | None) -> Tensor | None:
        """Mask of the frames with at least one valid sample; (batch, time) -> (batch, frames)."""
        return None if valid is None else valid[:, :: self.hop_length]

    def _normalized(self, waveform: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Divide each item by its loudness if the model normalizes; also return the divisors, (batch, 1)."""
        if not self.config.normalize:
            return waveform.to(self.dtype), None
        scales = loudness(waveform, valid)
        return (waveform / scales[..., None]).to(self.dtype), scales

    def _check_scales(self, scales: Tensor | None, batch: int) -> None:
        if (scales is not None) != self.config.normalize:
            needed = "needs" if self.config.normalize else "takes no"
            raise ValueError(
                f"the model has `normalize={self.config.normalize}` and {needed} `audio_scales`; pass them with the "
                f"codes if and only if `encode` returns them."
            )
        if scales is None:
            return
        check_tensor(scales, "audio_scales")
        if scales.shape != (batch, 1):
            raise ValueError(f"`audio_scales` has shape {tuple(scales.shape)}, expected ({batch}, 1), one per item.")
        require(
            lambda: ((scales >= 0) & scales.isfinite()).all(),
            lambda: ValueError(f"`audio_scales` holds {scales.flatten().tolist()}; pass those that `encode` returns."),
        )

    def _check_streamable(self) -> None:
        if self.config.normalize:
            raise ValueError(
                "`normalize=True` divides a waveform by the loudness of all of it, which is known only at its end; "
                "encode and decode the signal as a whole, or use a model with `normalize=False`."
            )
