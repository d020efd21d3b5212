"""The arguments of a `SpectrogramVAE`, checked, and the networks that they define."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from torch import nn

from hf_audio_vae.models.inputs import check_layers, check_product, check_size_lists, check_sizes
from hf_audio_vae.modules.alignment import PAD_MODES
from hf_audio_vae.modules.magnitude_preserving import MagnitudeDecoder, MagnitudeEncoder
from hf_audio_vae.modules.spectrogram import (
    ComplexSpectrogram,
    CropBins,
    FlattenBins,
    FrameClock,
    InverseComplexSpectrogram,
    LogMelSpectrogram,
    UnflattenBins,
)
from hf_audio_vae.modules.spectrogram_networks import (
    SegmentDecoder,
    SegmentEncoder,
    SpectrogramDecoder,
    SpectrogramEncoder,
    Stages,
)
from hf_audio_vae.modules.stack import Stack

FRONT_ENDS = ("complex", "mel")
NETWORKS = ("residual", "classic", "magnitude_preserving")
MAGNITUDE_EXPONENT = 0.35  # if none is given


class SpectrogramStack(Stack):
    """A network on spectrograms with the layers before and after it; from waveforms to latents, or back."""

    before: nn.Module
    network: nn.Module

    def __init__(self, before: nn.Module, network: nn.Module, *after: nn.Module) -> None:
        super().__init__()
        self.before, self.network, self.after = before, network, nn.ModuleList(after)

    def layers(self) -> tuple[nn.Module, ...]:
        """Return the layers in order."""
        return self.before, self.network, *self.after


@dataclass(frozen=True)
class Layout:
    """Sizes of a `SpectrogramVAE`; the arguments are those of the class.

    Raises:
        ValueError: A number is out of range, or an argument has no meaning with the others.
    """

    front_end: str
    network: str
    downsampling_ratios: Sequence[int]
    bin_ratios: Sequence[int]
    block_out_channels: Sequence[int]
    layers_per_block: int
    latent_channels: int
    audio_channels: int
    sampling_rate: int
    window_length: int
    magnitude_exponent: float | None
    mel_bins: int | None
    min_frequency_hz: float | None
    max_frequency_hz: float | None
    num_frames: int | None
    causal: bool
    leading_frame: bool
    mid_block_add_attention: bool
    pad_mode: str | None
    power_offset: float | None
    log_variance: bool

    def __post_init__(self) -> None:
        for name, known in (("front_end", FRONT_ENDS), ("network", NETWORKS)):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` {getattr(self, name)!r} is unknown; use one of {known}.")
        lists = ("downsampling_ratios", "bin_ratios", "block_out_channels")
        check_size_lists(**{name: getattr(self, name) for name in lists})
        if len({len(getattr(self, name)) for name in lists}) > 1:
            raise ValueError(
                f"`downsampling_ratios` {self.downsampling_ratios}, `bin_ratios` {self.bin_ratios} and "
                f"`block_out_channels` {self.block_out_channels} differ in length; give one value of each per stage."
            )
        sizes = ("layers_per_block", "latent_channels", "audio_channels", "sampling_rate", "window_length")
        check_sizes(**{name: getattr(self, name) for name in sizes})
        for name in ("causal", "leading_frame", "mid_block_add_attention", "log_variance"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; it has to be true or false.")
        self._check_front_end()
        self._check_network()
        check_layers(layers_per_block=self.layers_per_block * len(self.bin_ratios))
        check_product("hop length", (*self.downsampling_ratios, self.frames_per_latent // self.frame_stride))
        check_product("number of bins", self.bin_ratios)
        check_product("size of a spectrum", (2 * self.audio_channels, self.padded_bins))
        check_product("width of the latents", (2 * self.latent_channels, self.latent_bins))

    def _check_front_end(self) -> None:
        for front_end, names in (
            ("mel", ("mel_bins", "min_frequency_hz", "max_frequency_hz", "pad_mode", "power_offset")),
            ("complex", ("magnitude_exponent",)),
        ):
            for name in names:
                if front_end != self.front_end and getattr(self, name) is not None:
                    raise ValueError(
                        f"`{name}` is {getattr(self, name)!r}, but `front_end` is {self.front_end!r}; leave it out, "
                        f"or use the front end {front_end!r}."
                    )
        if self.front_end == "complex":
            return
        if self.mel_bins is None:
            raise ValueError("`mel_bins` is None; give the number of mel bins, as 80.")
        check_sizes(mel_bins=self.mel_bins)
        if self.mel_bins % self.bin_stride:
            raise ValueError(
                f"`mel_bins` is {self.mel_bins}, not a multiple of the product {self.bin_stride} of `bin_ratios`."
            )
        lowest, highest = self.frequency_range_hz
        if not all(isinstance(value, Real) for value in (lowest, highest)) or not (
            0 <= lowest < highest <= self.sampling_rate / 2
        ):
            raise ValueError(
                f"`min_frequency_hz` is {lowest!r} and `max_frequency_hz` {highest!r}; use 0 <= min < max <= "
                f"{self.sampling_rate / 2:g}, half the sampling rate."
            )
        if self.pad_mode not in (None, *PAD_MODES):
            raise ValueError(f"`pad_mode` {self.pad_mode!r} is unknown; use one of {PAD_MODES}.")
        offset = 0.0 if self.power_offset is None else self.power_offset
        if not isinstance(offset, Real) or isinstance(offset, bool) or not 0 <= offset < math.inf:
            raise ValueError(f"`power_offset` is {offset!r}; use a number of at least 0, as 1e-9.")

    def _check_network(self) -> None:
        if self.network == "magnitude_preserving":
            self._check_magnitude_preserving()
        elif self.mid_block_add_attention:
            raise ValueError(
                f"`mid_block_add_attention` is True, but `network` is {self.network!r}; leave it false, or use the "
                f"network 'magnitude_preserving'."
            )
        if self.network != "classic":
            if self.num_frames is not None:
                raise ValueError(
                    f"`num_frames` is {self.num_frames!r}, but `network` is {self.network!r}; leave it out."
                )
            if self.leading_frame and not self.causal:
                raise ValueError("`leading_frame` is True and `causal` False; a leading frame needs a causal network.")
            return
        if self.causal or self.leading_frame:
            raise ValueError(
                "`causal` and `leading_frame` have no meaning for `network` 'classic', which reads segments as a "
                "whole; leave them false."
            )
        check_sizes(num_frames=self.num_frames)
        if self.frames_per_latent % self.frame_stride:
            raise ValueError(
                f"`num_frames` is {self.num_frames}, not a multiple of the product {self.frame_stride} of the "
                f"strides in `downsampling_ratios`."
            )

    def _check_magnitude_preserving(self) -> None:
        ones = (1,) * len(self.bin_ratios)
        if tuple(self.bin_ratios) != ones:
            raise ValueError(
                f"`bin_ratios` is {self.bin_ratios}, but `network` 'magnitude_preserving' has bins as channels; use "
                f"{ones}."
            )
        if self.leading_frame or (self.causal and self.mid_block_add_attention):
            raise ValueError(
                f"`leading_frame` is {self.leading_frame}, `causal` {self.causal} and `mid_block_add_attention` "
                f"{self.mid_block_add_attention}; `network` 'magnitude_preserving' has no leading frame, and is not "
                f"causal with attention: leave them false."
            )

    @property
    def bin_stride(self) -> int:
        """Bins per bin after the last stage."""
        return math.prod(self.bin_ratios)

    @property
    def frame_stride(self) -> int:
        """Frames per frame after the last stage."""
        return math.prod(self.downsampling_ratios[1:])

    @property
    def frequency_range_hz(self) -> tuple[float, float]:
        """Ends of the mel filters."""
        lowest = 0.0 if self.min_frequency_hz is None else self.min_frequency_hz
        return lowest, self.sampling_rate / 2 if self.max_frequency_hz is None else self.max_frequency_hz

    @property
    def spectrogram_hop_length(self) -> int:
        """Samples per frame of the spectrogram."""
        return self.downsampling_ratios[0]

    @property
    def spectrogram_channels(self) -> int:
        """Channels of the spectrogram: two per audio channel if it is complex."""
        return self.audio_channels * (1 if self.front_end == "mel" else 2)

    @property
    def bins(self) -> int:
        """Bins of the spectrogram."""
        return self.window_length // 2 + 1 if self.mel_bins is None else self.mel_bins

    @property
    def padded_bins(self) -> int:
        """Bins with those of zeros above, a multiple of the strides."""
        return -(-self.bins // self.bin_stride) * self.bin_stride

    @property
    def frames_per_latent(self) -> int:
        """Frames of the spectrogram per latent frame."""
        return self.frame_stride if self.num_frames is None else self.num_frames

    @property
    def latent_bins(self) -> int:
        """Bins of the latents; 1 if a latent frame is one vector."""
        return self.padded_bins // self.bin_stride if self.network == "residual" else 1

    @property
    def hop_length(self) -> int:
        """Samples per latent frame."""
        return self.spectrogram_hop_length * self.frames_per_latent

    def stages(self) -> Stages:
        """Return widths and strides; the first ratio over time is the hop of the spectrogram, no stride."""
        strides = tuple(zip(self.bin_ratios, (1, *self.downsampling_ratios[1:]), strict=True))
        widths = tuple(self.block_out_channels)
        return Stages(widths, strides, self.layers_per_block, self.causal, self.leading_frame)

    def encoder(self) -> SpectrogramStack:
        """(batch, audio_channels, frames * hop_length) -> (batch, 2 * latent_channels * latent_bins, frames)."""
        channels, latent_channels = self.spectrogram_channels, 2 * self.latent_channels
        bins, attention = self.padded_bins, self.mid_block_add_attention
        network: nn.Module
        if self.network == "magnitude_preserving":
            network = MagnitudeEncoder(self.stages(), channels, latent_channels, bins=bins, attention=attention)
        elif self.num_frames is None:
            network = SpectrogramEncoder(self.stages(), channels, latent_channels)
        else:
            segment = {"bins": bins, "num_frames": self.num_frames}
            check_product("feature map", (bins, self.num_frames, self.block_out_channels[-1]))
            network = SegmentEncoder(self.stages(), channels, latent_channels, **segment)
        return SpectrogramStack(self.spectrogram(), network, FlattenBins())

    def decoder(self) -> SpectrogramStack:
        """Latents to waveforms, or to mel spectrograms (batch, audio_channels, mel_bins, frames)."""
        channels = self.spectrogram_channels
        bins, attention = self.padded_bins, self.mid_block_add_attention
        network: nn.Module
        if self.network == "magnitude_preserving":
            network = MagnitudeDecoder(self.stages(), self.latent_channels, channels, bins=bins, attention=attention)
        elif self.num_frames is None:
            network = SpectrogramDecoder(self.stages(), self.latent_channels, channels)
        else:
            segment = {"bins": bins, "num_frames": self.num_frames}
            network = SegmentDecoder(self.stages(), self.latent_channels, channels, **segment)
        unflatten = UnflattenBins(self.latent_channels, self.latent_bins)
        last = FrameClock(self.spectrogram_hop_length) if self.front_end == "mel" else self._inverse()
        return SpectrogramStack(unflatten, network, CropBins(self.bins), last)

    def spectrogram(self) -> LogMelSpectrogram | ComplexSpectrogram:
        """(batch, audio_channels, frames * hop_length) -> (batch, channels, padded_bins, frames)."""
        if self.mel_bins is None:
            return ComplexSpectrogram(
                *self._transform(), audio_channels=self.audio_channels, padded_bins=self.padded_bins
            )
        lowest, highest = self.frequency_range_hz
        return LogMelSpectrogram(
            self.window_length,
            self.spectrogram_hop_length,
            self.mel_bins,
            sampling_rate=self.sampling_rate,
            min_frequency_hz=lowest,
            max_frequency_hz=highest,
            pad_mode=self.pad_mode or "constant",
            power_offset=self.power_offset or 0.0,
        )

    def _inverse(self) -> InverseComplexSpectrogram:
        return InverseComplexSpectrogram(*self._transform(), audio_channels=self.audio_channels)

    def _transform(self) -> tuple[int, int, float]:
        exponent = MAGNITUDE_EXPONENT if self.magnitude_exponent is None else self.magnitude_exponent
        return self.window_length, self.spectrogram_hop_length, exponent
