"""One level of a hierarchy, encoded and decoded while its waveform comes in."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from hf_audio_vae.models.hierarchical_vqvae.checks import check_level
from hf_audio_vae.models.hierarchical_vqvae.configuration_hierarchical_vqvae import HierarchicalVQVAEConfig
from hf_audio_vae.models.inputs import check_codes, check_waveform
from hf_audio_vae.models.streaming import AlgorithmicLatency, Streaming, StreamingCoder, latency_of, unchanged
from hf_audio_vae.modules.streaming import Chain, Pointwise, chain_of


class _Levels(Protocol):
    """What the mixin reads of a model."""

    config: HierarchicalVQVAEConfig
    encoders: Any
    quantizers: Any
    decoders: Any

    @property
    def num_levels(self) -> int: ...

    @property
    def hop_lengths(self) -> tuple[int, ...]: ...

    @property
    def hop_length(self) -> int: ...


class StreamingLevelsMixin:
    """Streaming of a model with codes on several levels, one level at a time."""

    @property
    def algorithmic_latency(self: _Levels) -> AlgorithmicLatency:
        """Samples until a sample's code on the finest level and its reconstruction from it are determined.

        Raises:
            ValueError: The model decodes all levels together.
        """
        return _latency(self, _level_alone(self, None))

    def streaming(self: _Levels, level: int | None = None) -> Streaming[Tensor]:
        """Return an encoder and a decoder of one level for a signal in pieces, with a copy of the weights.

        Their outputs, concatenated, are ``encode(x).audio_codes[level]`` and ``decode(codes, level=level)`` within
        rounding, whatever the pieces. Each is computed once, as soon as it is determined; what is kept for later ones
        does not grow.

        Args:
            level (`int`, *optional*): The level, 0 for the finest, which it is if not given. Of a model that decodes
                all levels together (`joint_decoding`), it has to be named.

        Raises:
            ValueError: There is no such level, or none is named where it has to be.

        Example:
            >>> from hf_audio_vae import HierarchicalVQVAE, HierarchicalVQVAEConfig
            >>> config = HierarchicalVQVAEConfig(hidden_size=4, width=4, depth=1, codebook_size=16)
            >>> streaming = HierarchicalVQVAE(config).eval().streaming(level=1)
            >>> codes = streaming.encoder.push(torch.randn(1, 1, 320))
            >>> codes.shape[-1] + streaming.encoder.flush().shape[-1]  # 32 samples each, whole frames of 128
            12
        """
        level = _level_alone(self, level)
        encoder, decoder = _layers(self, level)
        quantizer = copy.deepcopy(self.quantizers[level])
        return Streaming(
            StreamingCoder(
                Chain((chain_of(*encoder), Pointwise(quantizer.encode))),
                partial(check_waveform, audio_channels=self.config.audio_channels),
                unchanged,
                unit=self.hop_length,
            ),
            StreamingCoder(
                Chain((Pointwise(quantizer.decode), chain_of(*decoder))),
                partial(check_codes, codebook_sizes=(self.config.codebook_size,)),
                unchanged,
            ),
            _latency(self, level),
        )


def _level_alone(model: _Levels, level: int | None) -> int:
    """Return the level that is asked for, or else the finest, if it is what the model decodes."""
    if level is None:
        if model.config.joint_decoding:
            raise ValueError(
                "`joint_decoding=True`: the model decodes all levels together; name a `level` to stream it alone, 0 "
                "for the finest."
            )
        return 0
    check_level(level, model.num_levels)
    return level


def _layers(model: _Levels, level: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return those from the waveform to a level's latents, and those back."""
    encoder = model.encoders[0 if model.config.shared_encoder else level].blocks[: level + 1]
    return encoder, (*reversed(model.decoders[level].blocks), model.decoders[level].conv_out)


def _latency(model: _Levels, level: int) -> AlgorithmicLatency:
    encoder, decoder = _layers(model, level)
    hop_length, sampling_rate = model.hop_lengths[level], model.config.sampling_rate
    return latency_of(encoder, decoder, hop_length=hop_length, sampling_rate=sampling_rate)
