"""Encoder and decoder on STFT frames, for the families that have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hf_audio_vae.models.inputs import check_layers, check_product, check_size_lists, check_sizes
from hf_audio_vae.modules.short_time_networks import ShortTimeDecoder, ShortTimeEncoder


@dataclass(frozen=True)
class ShortTimeStages:
    """Configuration of the two networks; there is one stage after the STFT and one after each stride.

    Args:
        downsampling_ratios (`Sequence[int]`): Hop of the STFT in samples, then the strides between the stages.
        hidden_sizes (`Sequence[int]`): Channels of each stage of the encoder; the decoder's, reversed.
        num_blocks (`Sequence[int]`): ConvNeXt blocks of each stage.
        audio_channels (`int`): Channels of the waveform.
        window_length (`int`): Samples per window of the STFT, two or more hops.
        magnitude_exponent (`float`): Exponent that compresses magnitudes, in (0, 1].
        kernel_size (`int`): Taps of the depthwise convolutions, in frames.
        expansion (`float`): Hidden channels of a block, in units of its channels.
        causal (`bool`): Convolutions read no later frames.

    Raises:
        ValueError: A number is out of range, or the stages differ in count.
    """

    downsampling_ratios: Sequence[int]
    hidden_sizes: Sequence[int]
    num_blocks: Sequence[int]
    audio_channels: int
    window_length: int = 1024
    magnitude_exponent: float = 0.35
    kernel_size: int = 7
    expansion: float = 3.0
    causal: bool = False

    def __post_init__(self) -> None:
        sizes = ("audio_channels", "window_length", "kernel_size")
        check_sizes(**{name: getattr(self, name) for name in sizes})
        lists = ("downsampling_ratios", "hidden_sizes", "num_blocks")
        check_size_lists(**{name: getattr(self, name) for name in lists})
        for name in lists:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len({len(getattr(self, name)) for name in lists}) > 1:
            raise ValueError(
                f"`downsampling_ratios` {self.downsampling_ratios}, `hidden_sizes` {self.hidden_sizes} and "
                f"`num_blocks` {self.num_blocks} differ in length; give one value of each per stage."
            )
        check_product("hop length", self.downsampling_ratios)
        check_product("number of channels of the spectra", (2 * self.audio_channels, self.window_length // 2 + 1))
        check_product("width of the widest block", (max(self.hidden_sizes), self.expansion))
        if round(self.expansion * min(self.hidden_sizes)) < 1:
            raise ValueError(
                f"`expansion` is {self.expansion}, which leaves blocks without hidden channels; use 1 or more."
            )
        check_layers(num_blocks=sum(self.num_blocks))
        if not isinstance(self.causal, bool):
            raise ValueError(f"`causal` is {self.causal!r}; it has to be true or false.")

    def encoder(self, out_channels: int) -> ShortTimeEncoder:
        """(batch, audio_channels, frames * hop_length) -> (batch, out_channels, frames)."""
        return ShortTimeEncoder(*self._stages(), out_channels=out_channels, **self._options())

    def decoder(self, in_channels: int) -> ShortTimeDecoder:
        """(batch, in_channels, frames) -> (batch, audio_channels, frames * hop_length)."""
        return ShortTimeDecoder(*self._stages(), in_channels=in_channels, **self._options())

    def _stages(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self.downsampling_ratios), tuple(self.hidden_sizes), tuple(self.num_blocks)

    def _options(self) -> dict[str, Any]:
        return {
            "audio_channels": self.audio_channels,
            "window_length": self.window_length,
            "exponent": self.magnitude_exponent,
            "kernel_size": self.kernel_size,
            "expansion": self.expansion,
            "causal": self.causal,
        }
