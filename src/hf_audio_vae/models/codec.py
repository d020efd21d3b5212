"""Base class of codecs: waveform to codes of a quantizer, and back."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from hf_audio_vae.models.autoencoder import AudioAutoencoderMixin
from hf_audio_vae.models.codec_outputs import CodecDecoderOutput, CodecEncoderOutput, CodecOutput
from hf_audio_vae.models.inputs import check_codes, check_sampling_rate, check_tensor, check_waveform
from hf_audio_vae.models.loudness import loudness, scaled
from hf_audio_vae.models.padding import by_length, checked_waveform, valid_mask
from hf_audio_vae.modules.deferral import deferring_checks, require
from hf_audio_vae.modules.finite import check_output
from hf_audio_vae.modules.quantization import Quantizer
from hf_audio_vae.runtime.coders import Coding, identity
from hf_audio_vae.runtime.streaming import AlgorithmicLatency, Streaming, latency_of, new_streaming


class CodecMixin(AudioAutoencoderMixin):
    """A codec of waveforms with codes of one rate.

    A family sets `encoder`, a network from (batch, audio_channels, frames * hop_length) to (batch, channels, frames),
    `quantizer`, and `decoder`, a network from the quantized latents to waveforms.
    """

    encoder: nn.Module
    quantizer: Quantizer
    decoder: nn.Module

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

    def encodings(self, num_codebooks: int | None = None) -> tuple[Coding]:
        """From waveforms to codes of the first `num_codebooks` codebooks, all if not given."""
        after = partial(self.quantizer.encode, num_codebooks=num_codebooks)
        return (Coding(self.encoder, self.hop_length, after=after),)

    def decodings(self) -> tuple[Coding]:
        """From codes to waveforms."""
        return (Coding(self.decoder, self.hop_length, before=self.quantizer.decode),)

    def latents_of_codes(self, codes: Tensor) -> tuple[Tensor, ...]:
        """Return what the quantizer decodes, one tensor (batch, channels, frames)."""
        return (self.quantizer.decode(codes),)

    @property
    def algorithmic_latency(self) -> AlgorithmicLatency:
        """Samples until the codes and the reconstruction of a sample are determined, from the layers' spans.

        Raises:
            ValueError: An output of the model depends on the whole signal.
        """
        self._check_streamable()
        return latency_of(*self.encodings(), *self.decodings(), sampling_rate=self.sampling_rate)

    @property
    def regulariser_terms(self) -> tuple[str, ...]:
        """Names of the losses of the quantizer."""
        names: tuple[str, ...] = self.quantizer.loss_names
        return names

    @deferring_checks
    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_codebooks: int | None = None,
        *,
        sampling_rate: int | None = None,
        return_dict: bool = True,
    ) -> CodecEncoderOutput | tuple[Tensor, ...]:
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
            `CodecEncoderOutput`, or a tuple of its fields that are not None: codes are (batch,
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
        output = CodecEncoderOutput(codes, frames_mask, scales)
        return output if return_dict else output.to_tuple()

    @deferring_checks
    def decode(
        self,
        audio_codes: Tensor,
        audio_codes_mask: Tensor | None = None,
        *,
        audio_scales: Tensor | None = None,
        return_dict: bool = True,
    ) -> CodecDecoderOutput | tuple[Tensor]:
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
            `CodecDecoderOutput`, or `(audio_values,)`: (batch, audio_channels, frames * hop_length).

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
        return CodecDecoderOutput(audio) if return_dict else (audio,)

    @deferring_checks
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_codebooks: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> CodecOutput | tuple[Tensor, ...]:
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
            `CodecOutput`, or a tuple of its fields that are not None.

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
        output = CodecOutput(audio, codes, frames_mask, quantized.losses)
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
            >>> from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
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
        if not self.codes_need_scales:
            return waveform.to(self.dtype), None
        scales = loudness(waveform, valid)
        return (waveform / scales[..., None]).to(self.dtype), scales

    def _check_scales(self, scales: Tensor | None, batch: int) -> None:
        if (scales is not None) != self.codes_need_scales:
            needed = "needs" if self.codes_need_scales else "takes no"
            raise ValueError(
                f"the model has `normalize={self.codes_need_scales}` and {needed} `audio_scales`; pass them with the "
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
        if self.codes_need_scales:
            raise ValueError(
                "`normalize=True` divides a waveform by the loudness of all of it, which is known only at its end; "
                "encode and decode the signal as a whole, or use a model with `normalize=False`."
            )
