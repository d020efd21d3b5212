"""Hierarchical vector-quantized autoencoder, as in Jukebox: each level has its own rate and codebook.

Dhariwal et al., 2020 (arXiv:2005.00341).
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hf_audio_vae.audio.framing import pad_to_frames
from hf_audio_vae.models.graph_parts import GraphPart
from hf_audio_vae.models.hierarchical_vqvae.checks import (
    check_level,
    check_levels,
    common_mask,
    level_path,
    select_levels,
)
from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.models.hierarchical_vqvae.graph_parts import level_parts
from hf_audio_vae.models.hierarchical_vqvae.levels import (
    LevelEncoder,
    Levels,
    dequantize,
    level_decoder,
    level_encoder,
    pack,
    quantize,
    unpack,
)
from hf_audio_vae.models.hierarchical_vqvae.outputs import (
    HierarchicalVQVAEDecoderOutput,
    HierarchicalVQVAEEncoderOutput,
    HierarchicalVQVAEOutput,
)
from hf_audio_vae.models.inputs import check_codes, check_sampling_rate, check_waveform
from hf_audio_vae.models.padding import by_length, checked_waveform
from hf_audio_vae.models.transformers_autoencoder import TransformersAutoencoderMixin
from hf_audio_vae.modules.deferral import deferring_checks
from hf_audio_vae.modules.finite import check_output
from hf_audio_vae.modules.quantization import Codebook, VectorQuantizer
from hf_audio_vae.runtime.coders import Coding, LayerRange, identity
from hf_audio_vae.runtime.streaming import AlgorithmicLatency, Streaming, latency_of, new_streaming


class HierarchicalVQVAE(TransformersAutoencoderMixin, PreTrainedModel):  # type: ignore[misc]
    """Autoencoder with several levels of codes, from fine (high rate) to coarse (low rate), as in Jukebox.

    Each level has an encoder, a codebook and a decoder, and reconstructs the waveform by itself. A language model can
    generate the coarsest codes first, and other models the finer codes from these.

    Args:
        config (`HierarchicalVQVAEConfig`): Sizes and rates of the levels.

    Example:
        >>> config = HierarchicalVQVAEConfig(width=8, depth=1, hidden_size=4, codebook_size=16)
        >>> model = HierarchicalVQVAE(config).eval()
        >>> codes = model.encode(torch.randn(1, 1, 1000)).audio_codes
        >>> [tuple(level.shape) for level in codes]
        [(1, 1, 128), (1, 1, 32), (1, 1, 8)]
        >>> model.decode(codes).audio_values.shape, model.decode(codes[2], level=2).audio_values.shape
        (torch.Size([1, 1, 1024]), torch.Size([1, 1, 1024]))
    """

    encoders: Any  # nn.ModuleList of LevelEncoder
    quantizers: Any  # nn.ModuleList of VectorQuantizer
    decoders: Any  # nn.ModuleList of LevelDecoder

    config_class = HierarchicalVQVAEConfig
    config: HierarchicalVQVAEConfig
    base_model_prefix = "hierarchical_vqvae"
    main_input_name = "input_values"
    input_modalities = "audio"
    supports_gradient_checkpointing = True
    codes_by_level = True
    _no_split_modules = ["DownsamplingStage", "UpsamplingStage"]

    def __init__(self, config: HierarchicalVQVAEConfig) -> None:
        super().__init__(config)
        levels = range(len(config.strides))
        self.encoders = nn.ModuleList(
            level_encoder(config, level) for level in ([None] if config.shared_encoder else levels)
        )
        self.quantizers = nn.ModuleList(_quantizer(config) for _ in levels)
        self.decoders = nn.ModuleList(level_decoder(config, level) for level in levels)
        self.coder = self.new_coder()
        self.post_init()

    @property
    def num_levels(self) -> int:
        """Number of levels."""
        return len(self.config.strides)

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Samples per frame of each level."""
        return self.config.hop_lengths

    @property
    def hop_length(self) -> int:
        """Samples per frame of the coarsest level; inputs are padded to whole frames."""
        return self.hop_lengths[-1]

    @property
    def frame_rates(self) -> tuple[float, ...]:
        """Frames per second of each level, in Hz."""
        return tuple(self.sampling_rate / hop for hop in self.hop_lengths)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Size of each level's codebook."""
        return (self.config.codebook_size,) * self.num_levels

    @property
    def codebook_hop_lengths(self) -> tuple[int, ...]:
        """Samples per code of each level's codebook."""
        return self.hop_lengths

    @property
    def regulariser_terms(self) -> tuple[str, ...]:
        """Names of the losses of each quantizer, which are summed."""
        names: tuple[str, ...] = self.quantizers[0].loss_names
        return names

    @property
    def bits_per_second(self) -> float:
        """Bits per second of the codes that `decode` reads: of the finest level, or of all with `joint_decoding`."""
        rates = self.frame_rates if self.config.joint_decoding else self.frame_rates[:1]
        return sum(rates) * math.log2(self.config.codebook_size)

    def encodings(self) -> tuple[Coding, ...]:
        """From waveforms to the codes of each encoder's levels."""
        return tuple(map(self._encoding, self.encoders))

    def decodings(self) -> tuple[Coding, ...]:
        """From the codes of each level, or with `joint_decoding` of all levels down to the finest."""
        joint = self.config.joint_decoding
        return tuple(self._decoding(range(level + 1) if joint else (level,)) for level in range(self.num_levels))

    def latents_of_codes(self, codes: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return what the quantizer of each level decodes, (batch, channels, frames), finest level first."""
        return tuple(dequantize(codes, self.quantizers))

    @property
    def algorithmic_latency(self) -> AlgorithmicLatency:
        """Samples until the finest code of a sample and its reconstruction from it are determined.

        Raises:
            ValueError: The model decodes all levels together.
        """
        return latency_of(*self._level_codings(None), sampling_rate=self.sampling_rate)

    @deferring_checks
    def encode(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        *,
        sampling_rate: int | None = None,
        return_dict: bool = True,
    ) -> HierarchicalVQVAEEncoderOutput | tuple[tuple[Tensor, ...], ...]:
        """Encode a waveform into the codes of every level.

        Args:
            input_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1], any time >= 1;
                zeros are appended up to a whole frame of the coarsest level.
            padding_mask (`torch.Tensor` of shape `(batch, time)`, *optional*): True or 1 where there is sound, for
                items that are padded on the right. An item gets the same codes as without padding; padding gets 0.
            sampling_rate (`int`, *optional*): Sampling rate of the waveform in Hz, checked against the model's.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `HierarchicalVQVAEEncoderOutput`, or `(audio_codes,)`, with `audio_codes_mask` if there is one.

        Raises:
            ValueError: Wrong rank, channel count, dtype or sampling rate; empty, NaN or infinite; a mask that does not
                fit or pads elsewhere than on the right.
        """
        check_sampling_rate(sampling_rate, self.sampling_rate)
        waveform, sample_mask = checked_waveform(input_values, padding_mask, self.config.audio_channels)
        valid = self._frames_mask(sample_mask)
        codes = tuple(self._encode(waveform, valid, latents=False))
        output = HierarchicalVQVAEEncoderOutput(audio_codes=codes, audio_codes_mask=self._level_masks(valid))
        return output if return_dict else output.to_tuple()

    @deferring_checks
    def decode(
        self,
        audio_codes: Sequence[Tensor] | Tensor,
        audio_codes_mask: Sequence[Tensor] | Tensor | None = None,
        *,
        level: int | None = None,
        return_dict: bool = True,
    ) -> HierarchicalVQVAEDecoderOutput | tuple[Tensor]:
        """Decode codes into a waveform.

        Args:
            audio_codes (`tuple[torch.Tensor, ...]` or `torch.Tensor`): Codes (batch, 1, frames) of all levels, finest
                first; or those of `level` alone.
            audio_codes_mask (`tuple[torch.Tensor, ...]` or `torch.Tensor`, *optional*): (batch, frames) each,
                True or 1 for codes that are not padding, as many as `audio_codes`. The waveform is 0 for padding.
            level (`int`, *optional*): The level to decode from, 0 for the finest. If not given, all levels with
                `joint_decoding`, else the finest.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `HierarchicalVQVAEDecoderOutput`, or `(audio_values,)`: (batch, audio_channels, frames * hop_length), with
            the frames and the hop length of the level.

        Raises:
            ValueError: There is no such level; codes are missing, out of range, or wrong in rank, dtype or length; or
                a mask does not fit.
        """
        path = level_path(level, self.num_levels, self.config.joint_decoding)
        ratios = self._ratios(path)
        levels = select_levels(audio_codes, level, path, self.num_levels, "audio_codes")
        check_levels(levels, path, ratios, self.config.codebook_size)
        levels = [codes.long() for codes in levels]
        valid = None
        if audio_codes_mask is not None:
            masks = select_levels(audio_codes_mask, level, path, self.num_levels, "audio_codes_mask")
            valid = common_mask(masks, levels, ratios)
        audio = self._decode(levels, path, valid, latents=False)
        check_output(audio, "samples")
        output = HierarchicalVQVAEDecoderOutput(audio)
        return output if return_dict else output.to_tuple()

    @deferring_checks
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        return_dict: bool = True,
    ) -> HierarchicalVQVAEOutput | tuple[object, ...]:
        """Encode and decode every level, as in training. In training mode, codebooks learn.

        Args:
            input_values (`torch.Tensor` of shape `(batch, audio_channels, time)`): Waveform in [-1, 1].
            padding_mask (`torch.Tensor` of shape `(batch, time)`, *optional*): As in `encode`; padding is excluded
                from losses and codebook updates, and is 0 in the output.
            generator (`torch.Generator` or a list of them, *optional*): Unused, since nothing is sampled per item;
                training passes it.
            return_dict (`bool`): Return an output object rather than a tuple.

        Returns:
            `HierarchicalVQVAEOutput`, or a tuple of its values that are not None.

        Raises:
            ValueError: As `encode`.
        """
        waveform, sample_mask = checked_waveform(input_values, padding_mask, self.config.audio_channels)
        valid = self._frames_mask(sample_mask)
        all_levels = tuple(range(self.num_levels))
        masks = self._level_masks(valid)
        coded = [
            self.quantizers[level](latents, None if masks is None else masks[level])
            for level, latents in enumerate(self._encode(waveform, valid, latents=True))
        ]

        quantized, codes = [level.quantized for level in coded], tuple(level.codes for level in coded)
        level_values = tuple(
            self._reconstruct(quantized, (level,), masks, sample_mask, waveform.shape[-1]) for level in all_levels
        )
        joint = self.config.joint_decoding
        joint_values = (
            self._reconstruct(quantized, all_levels, masks, sample_mask, waveform.shape[-1]) if joint else None
        )
        output = HierarchicalVQVAEOutput(
            audio_values=level_values[0] if joint_values is None else joint_values,
            level_values=level_values,
            audio_codes=codes if masks is None else tuple(codes[i] * masks[i][:, None] for i in all_levels),
            audio_codes_mask=masks,
            losses={name: torch.stack([level.losses[name] for level in coded]).sum() for name in coded[0].losses},
            reconstructions=level_values if joint_values is None else (*level_values, joint_values),
        )
        return output if return_dict else output.to_tuple()

    def streaming(self, level: int | None = None) -> Streaming[Tensor]:
        """Return a streaming encoder and decoder of one level, with a copy of the weights.

        Their concatenated outputs equal ``encode(x).audio_codes[level]`` and ``decode(codes, level=level)`` within
        rounding, for pieces of any length. Each output is computed once, as soon as it is determined. The state does
        not grow.

        Args:
            level (`int`, *optional*): The level, 0 for the finest, which is the default. A model that decodes all
                levels together (`joint_decoding`) has no default.

        Raises:
            ValueError: There is no such level, or `level` is missing with `joint_decoding`.

        Example:
            >>> config = HierarchicalVQVAEConfig(hidden_size=4, width=4, depth=1, codebook_size=16)
            >>> streaming = HierarchicalVQVAE(config).eval().streaming(level=1)
            >>> codes = streaming.encoder.push(torch.randn(1, 1, 320))
            >>> codes.shape[-1] + streaming.encoder.flush().shape[-1]  # 32 samples each, whole frames of 128
            12
        """
        return new_streaming(
            *self._level_codings(level),
            check_waveform=partial(check_waveform, audio_channels=self.config.audio_channels),
            check_frames=partial(check_codes, codebook_sizes=(self.config.codebook_size,)),
            wrap=identity,
            pad_multiple=self.hop_length,
            sampling_rate=self.sampling_rate,
            dtype=self.dtype,
        )

    def graph_parts(self) -> dict[str, GraphPart]:
        """Return an encoder and a decoder, or one decoder per level without `joint_decoding`."""
        return level_parts(self)

    def graph_metadata(self) -> dict[str, object]:
        """Return the rates and sizes of the levels."""
        return {"hop_lengths": self.hop_lengths, **super().graph_metadata()}

    def _level_codings(self, level: int | None) -> tuple[Coding, Coding]:
        """Return both directions of one level; by default of the finest, except with `joint_decoding`."""
        if level is None and self.config.joint_decoding:
            raise ValueError(
                "`joint_decoding=True`: the model decodes all levels together; name a `level` to stream it alone, 0 "
                "for the finest."
            )
        level = level or 0
        check_level(level, self.num_levels)
        encoder, decoder = self.encoders[0 if self.config.shared_encoder else level], self.decoders[level]
        quantizer, hop_length = self.quantizers[level], self.hop_lengths[level]
        return (
            Coding(LayerRange(encoder.blocks[: level + 1]), hop_length, after=quantizer.encode),
            Coding(LayerRange(decoder.level_layers()), hop_length, before=quantizer.decode),
        )

    def _reconstruct(
        self,
        quantized: Levels,
        path: tuple[int, ...],
        masks: tuple[Tensor, ...] | None,
        sample_mask: Tensor | None,
        time: int,
    ) -> Tensor:
        """Decode a path in training, with the length of the input and 0 for padding.

        It does not call `decode`: after an overflow, training has to see the resulting loss.
        """
        valid = None if masks is None else masks[path[-1]]
        audio = self._decode([quantized[level] for level in path], path, valid, latents=True)[..., :time]
        return audio if sample_mask is None else audio * sample_mask[:, None]

    def _ratios(self, path: Sequence[int] | None = None) -> tuple[int, ...]:
        """Frames of each level of a path (of all levels if not given) per frame of its last level."""
        hops = [self.hop_lengths[level] for level in path or range(self.num_levels)]
        return tuple(hops[-1] // hop for hop in hops)

    def _frames_mask(self, sample_mask: Tensor | None) -> Tensor | None:
        """Mask of the coarsest level's frames with at least one valid sample; (batch, time) -> (batch, frames)."""
        return None if sample_mask is None else sample_mask[:, :: self.hop_length]

    def _level_masks(self, valid: Tensor | None) -> tuple[Tensor, ...] | None:
        """Expand a mask of the coarsest level's frames to every level."""
        return None if valid is None else tuple(valid.repeat_interleave(ratio, dim=1) for ratio in self._ratios())

    def _encode(self, waveform: Tensor, valid: Tensor | None, *, latents: bool) -> Levels:
        """Return the codes of every level, or its latents."""
        return [level for encoder in self.encoders for level in self._encode_by(encoder, waveform, valid, latents)]

    def _encode_by(self, encoder: LevelEncoder, waveform: Tensor, valid: Tensor | None, latents: bool) -> Levels:
        waveform = waveform.to(self.dtype)
        encode = partial(self.coder.encode, self._encoding(encoder, latents=latents))
        if valid is None:
            return encode(waveform)
        ratios, hop = self._ratios()[encoder.levels], self.hop_length
        packed = by_length(lambda x: pack(encode(x), ratios), pad_to_frames(waveform, hop), valid, hop, 1)
        return unpack(packed, ratios)

    def _decode(self, levels: Levels, path: tuple[int, ...], valid: Tensor | None, *, latents: bool) -> Tensor:
        """Decode the codes, or the quantized latents, of the levels of a path."""
        decode = partial(self.coder.decode, self._decoding(path, latents=latents))
        if valid is None:
            return decode(levels)
        ratios, hop = self._ratios(path), self.hop_lengths[path[-1]]
        return by_length(lambda packed: decode(unpack(packed, ratios)), pack(levels, ratios), valid, 1, hop)

    def _encoding(self, encoder: LevelEncoder, *, latents: bool = False) -> Coding:
        """From a waveform to the codes of an encoder's levels, or to its latents."""
        after = identity if latents else partial(quantize, quantizers=self.quantizers[encoder.levels])
        return Coding(encoder, self.hop_length, after=after, rate=self._ratios()[encoder.levels][-1])

    def _decoding(self, path: Sequence[int], *, latents: bool = False) -> Coding:
        """From the codes of the levels of a path to a waveform, or from quantized latents."""
        before = identity if latents else partial(dequantize, quantizers=[self.quantizers[level] for level in path])
        return Coding(self.decoders[path[-1]], self.hop_lengths[path[-1]], before=before)


def _quantizer(config: HierarchicalVQVAEConfig) -> VectorQuantizer:
    codebook = Codebook(
        config.codebook_size,
        config.hidden_size,
        cosine=config.cosine,
        learning="ema",
        decay=config.ema_decay,
        restart_share=config.restart_share,
        kmeans_start=config.kmeans_start,
    )
    return VectorQuantizer(config.hidden_size, codebook, rotation=config.rotation_trick)
