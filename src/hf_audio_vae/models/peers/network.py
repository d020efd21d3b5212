"""Encoder and decoder of a published model, with whole frames in and out."""

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.models.peers.copying import CopyableModule
from hf_audio_vae.models.peers.reach import Reach, measured_reach


class PeerNetwork(CopyableModule, ABC):
    """Modules of the original, which a subclass registers, and a `forward` with exact lengths.

    Args:
        in_channels (`int`): Channels of audio, or of latents.
        hop_length (`int`): Samples per frame.
    """

    least_frames: ClassVar[int] = 1  # the original fails on shorter signals
    whole_signal: str | None = None  # why every output depends on the whole signal, if that need not be measured
    frames_in_view: int = 0  # further before; their presence changes an output, although their values do not

    def __init__(self, in_channels: int, hop_length: int) -> None:
        super().__init__()
        self.in_channels, self.hop_length = in_channels, hop_length
        self._reach: Reach | None = None

    @abstractmethod
    def run(self, x: Tensor) -> Tensor:
        """Run the modules; the output may be too long or too short."""

    @abstractmethod
    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, last) of inputs that the outputs [start, stop) depend on.

        Raises:
            ValueError: See `measured_reach`.
        """

    def run_whole(self, x: Tensor, frames: int, *, in_rate: int, out_rate: int) -> Tensor:
        """Run the modules; zeros are appended if the output would be too short, and the rest is cut."""
        missing = max(self.least_frames - frames, 0) * in_rate
        output = self.run(F.pad(x, (0, missing)))
        if output.shape[-1] < frames * out_rate:
            output = self.run(F.pad(x, (0, missing + in_rate)))
        if output.shape[-1] < frames * out_rate:
            raise ValueError(f"{type(self).__name__} returned {output.shape[-1]} values for {frames} frames.")
        return output[..., : frames * out_rate]

    def reach(self, in_rate: int, out_rate: int) -> Reach:
        """Return the reach in frames; it is measured once.

        Raises:
            ValueError: Every output depends on the whole signal.
        """
        if self.whole_signal is not None:
            raise ValueError(
                f"every output depends on the whole signal: {self.whole_signal}; code signals as a whole."
            )
        if self._reach is None:
            device = next(self.parameters()).device

            def draw(frames: int) -> Tensor:
                return torch.randn(1, self.in_channels, frames * in_rate, device=device)

            measured = measured_reach(self, draw, out_rate)
            self._reach = replace(measured, before=measured.before + self.frames_in_view)
        return self._reach


class PeerEncoder(PeerNetwork):
    """From (batch, audio_channels, frames * hop_length) to (batch, out, frames)."""

    def forward(self, waveform: Tensor) -> Tensor:
        """Run the modules on whole frames."""
        frames = waveform.shape[-1] // self.hop_length
        return self.run_whole(waveform, frames, in_rate=self.hop_length, out_rate=1)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, last) of samples that the frames [start, stop) depend on, in whole frames."""
        reach = self.reach(self.hop_length, 1)
        return (start - reach.before) * self.hop_length, (stop + reach.after) * self.hop_length


class PeerDecoder(PeerNetwork):
    """From (batch, in, frames) to (batch, audio_channels, frames * hop_length)."""

    def forward(self, frames: Tensor) -> Tensor:
        """Run the modules on whole frames."""
        return self.run_whole(frames, frames.shape[-1], in_rate=1, out_rate=self.hop_length)

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range [first, last) of frames that the samples [start, stop) depend on."""
        reach = self.reach(1, self.hop_length)
        return start // self.hop_length - reach.before, math.ceil(stop / self.hop_length) + reach.after


def measured_hop_length(decoder: PeerDecoder) -> int:
    """Return the samples that a frame adds, on the default device."""
    shape: Any = (1, decoder.in_channels)
    short, long = (decoder.run(torch.empty(*shape, frames)).shape[-1] for frames in (16, 17))
    return long - short
