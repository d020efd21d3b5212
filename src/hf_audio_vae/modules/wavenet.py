"""Encoder and decoder of gated dilated convolutions, as in WaveNet (van den Oord et al., arXiv:1609.03499)."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.autoregressive import AutoregressiveWaveNet, Gate
from hf_audio_vae.modules.convnext import ChannelNorm
from hf_audio_vae.modules.dilated import StridedConv1d
from hf_audio_vae.modules.short_time import STFT
from hf_audio_vae.modules.short_time_networks import ShortTimeDecoder
from hf_audio_vae.modules.spectrogram import FrameClock
from hf_audio_vae.modules.stack import CheckpointedStack, Residual, Stack

INITIAL_STD = -2.25  # before softplus, which gives 0.1
LEAST_POWER = 1e-8  # of an orthonormal transform; quieter bins count as silence


class LogMagnitude(nn.Module):
    """Complex spectra, pairs of channels, to logarithms of magnitudes; (batch, 2 n, frames) -> (batch, n, frames).

    Silence is 0, and a magnitude of 1 is about 3.
    """

    def forward(self, x: Tensor) -> Tensor:
        parts = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(1, (-1, 2))
        return ((parts.square().sum(dim=2) / LEAST_POWER).log1p() / 6).to(x.dtype)


class GatedUnit(Residual):
    """Dilated 3-tap convolution, gate, 1-tap convolution, plus the input; (batch, channels, time) -> same."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = StridedConv1d(channels, 2 * channels, 3, dilation=dilation)
        self.conv2 = StridedConv1d(channels, channels, 1)
        self.gate = Gate()
        self.shortcut = nn.Identity()

    def branch(self) -> tuple[nn.Module, ...]:
        return self.conv1, self.gate, self.conv2


class GatedStage(Stack):
    """A strided convolution, gated units, and a norm; (batch, in_channels, time) -> (batch, channels, time / stride).

    Without norms, the signal shrinks from stage to stage at the start of training: the posterior means then hardly
    differ from sound to sound, and the decoder learns to do without them.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dilations: Iterable[int]) -> None:
        super().__init__()
        self.conv = StridedConv1d(in_channels, channels, 2 * stride, stride=stride)
        self.units = nn.ModuleList(GatedUnit(channels, dilation) for dilation in dilations)
        self.norm = ChannelNorm(channels)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.conv, *self.units, self.norm)


class PosteriorConv1d(StridedConv1d):
    """A convolution to means and to `std` before softplus, whose noise is small at the start of training.

    The decoder can then use the latents before it has learnt to predict a sample from the samples before it.
    """

    def __init__(self, in_channels: int, latent_channels: int) -> None:
        super().__init__(in_channels, 2 * latent_channels, 3)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights."""
        super().reset_parameters()
        nn.init.constant_(cast(Tensor, self.bias)[self.out_channels // 2 :], INITIAL_STD)


class WaveNetEncoder(CheckpointedStack):
    """(batch, audio_channels, frames * hop_length) -> (batch, 2 * latent_channels, frames).

    The first layer is a spectrum. Convolutions of samples follow the phase of a tone, which averages out in the next
    ones, so that the latents of all tones are equal at the start of training, and the decoder learns without them.

    Args:
        audio_channels (`int`): Channels of the waveform.
        channels (`int`): Channels of all layers.
        strides (`tuple[int, ...]`): Hop of the spectrum, then the stride of each further stage.
        dilations (`tuple[int, ...]`): Dilations of the units of each stage.
        latent_channels (`int`): Channels of the latents.
        window_length (`int`): Samples per window of the spectrum, two or more hops.
    """

    def __init__(
        self,
        audio_channels: int,
        channels: int,
        strides: tuple[int, ...],
        dilations: tuple[int, ...],
        latent_channels: int,
        window_length: int,
    ) -> None:
        super().__init__()
        self.stft = STFT(window_length, strides[0], 1.0)
        self.magnitude = LogMagnitude()
        widths = (audio_channels * (window_length // 2 + 1), *(channels for _ in strides[1:]))
        self.stages = nn.ModuleList(
            GatedStage(width, channels, stride, dilations)
            for width, stride in zip(widths, (1, *strides[1:]), strict=True)
        )
        self.conv_out = PosteriorConv1d(channels, latent_channels)

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.stft, self.magnitude, *self.stages, self.conv_out)


class FrameNetwork(CheckpointedStack):
    """(batch, in_channels, frames) -> (batch, channels, frames).

    Args:
        in_channels (`int`): Channels of the latents, or of a spectrum.
        channels (`int`): Channels of all layers.
        dilations (`tuple[int, ...]`): Dilations of the units.
    """

    def __init__(self, in_channels: int, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.conv_in = StridedConv1d(in_channels, channels, 3)
        self.units = nn.ModuleList(GatedUnit(channels, dilation) for dilation in dilations)
        self.norm = ChannelNorm(channels)  # large latents would saturate the gates of the WaveNet

    def layers(self) -> tuple[nn.Module, ...]:
        return (self.conv_in, *self.units, self.norm)


class WaveNetDecoder(Stack):
    """(batch, latent_channels, frames) -> (batch, audio_channels, frames * hop_length), sample by sample.

    Args:
        frames (`FrameNetwork`): Layers at the frame rate.
        wavenet (`AutoregressiveWaveNet`): Generates the samples of their frames.
    """

    frames: FrameNetwork
    wavenet: AutoregressiveWaveNet
    draft: ShortTimeDecoder | None

    def __init__(self, frames: FrameNetwork, wavenet: AutoregressiveWaveNet) -> None:
        super().__init__()
        self.frames, self.wavenet, self.draft = frames, wavenet, None
        self.clock = FrameClock(wavenet.hop_length)

    @property
    def conditioning(self) -> tuple[nn.Module, ...]:
        """Layers to the frames that condition the WaveNet: from latents, or from a draft if there is one."""
        return (self.frames,)

    def layers(self) -> tuple[nn.Module, ...]:
        return *self.conditioning, self.clock, self.wavenet


class DraftedDecoder(WaveNetDecoder):
    """(batch, latent_channels, frames) -> (batch, audio_channels, frames * hop_length): a draft, then its correction.

    The spectrum of the draft conditions the WaveNet. It shows the level and the colour of the sound, which are
    products of latents that carry phases.

    Args:
        frames (`FrameNetwork`): Layers at the frame rate, from the spectrum of the draft.
        wavenet (`AutoregressiveWaveNet`): Generates the difference from the draft.
        draft (`ShortTimeDecoder`): Computes a waveform.
        window_length (`int`): Samples per window of the spectrum.
    """

    draft: ShortTimeDecoder

    def __init__(
        self, frames: FrameNetwork, wavenet: AutoregressiveWaveNet, draft: ShortTimeDecoder, window_length: int
    ) -> None:
        super().__init__(frames, wavenet)
        self.draft = draft
        self.stft = STFT(window_length, wavenet.hop_length, 1.0)
        self.magnitude, self.limit = LogMagnitude(), nn.Hardtanh()

    @property
    def conditioning(self) -> tuple[nn.Module, ...]:
        """As `WaveNetDecoder`."""
        return self.stft, self.magnitude, self.frames

    def layers(self) -> tuple[nn.Module, ...]:
        return self.draft, Correction(*self.conditioning, self.clock, self.wavenet), self.limit


class Correction(Residual):
    """Adds what layers make of a draft to the draft; (batch, audio_channels, time) -> same."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.correction, self.shortcut = nn.ModuleList(layers), nn.Identity()

    def branch(self) -> tuple[nn.Module, ...]:
        return tuple(self.correction)
