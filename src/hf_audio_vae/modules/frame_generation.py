"""Waveforms that are generated frame by frame, from a state of their past."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

PIECE_FRAMES = 64  # whose conditions are in memory at once


class UniformNoise:
    """Uniform numbers for the samples of one frame after another.

    Args:
        batch (`int`): Number of items.
        generator (`torch.Generator` or a list, one per item, *optional*): Random source. If not given, each item
            draws the same numbers, from the seed 0: generation is then a function of the frames.
    """

    def __init__(self, batch: int, generator: torch.Generator | Sequence[torch.Generator] | None = None) -> None:
        if generator is None:
            generator = [torch.Generator().manual_seed(0) for _ in range(batch)]
        if not isinstance(generator, torch.Generator) and len(generator) != batch:
            raise ValueError(f"there are {len(generator)} generators for {batch} items; pass one, or one for each.")
        self._batch, self._generator = batch, generator

    def next(self, samples: int, channels: int, device: torch.device) -> Tensor:
        """Return float32 numbers in [0, 1), (samples, batch, channels, 2)."""
        shape = (samples, channels, 2)
        if isinstance(self._generator, torch.Generator):
            drawn = _uniform((self._batch, *shape), self._generator)
        else:
            drawn = torch.stack([_uniform(shape, generator) for generator in self._generator])
        return drawn.transpose(0, 1).to(device)


class GenerationState(ABC):
    """The past of a batch of waveforms that are being generated."""

    @abstractmethod
    def next(self, conditions: Tensor, noise: Tensor, temperature: float) -> Tensor:
        """Return the samples of the next frame, (batch, audio_channels, hop_length).

        Args:
            conditions (`torch.Tensor` of shape `(batch, layers, 2 * channels)`): Conditioning of each layer.
            noise (`torch.Tensor` of shape `(hop_length, batch, audio_channels, 2)`): Uniform numbers.
            temperature (`float`): See `SampleDistribution.draw`.
        """


class FrameGenerator(nn.Module, ABC):
    """Generates a waveform frame by frame; (batch, frame_channels, frames) -> (batch, audio_channels, time).

    It has no `input_span`: the `FrameClock` before it counts the frames in samples. Earlier frames are its state.
    """

    is_recurrent = True
    audio_channels: int
    hop_length: int

    @abstractmethod
    def conditions(self, frames: Tensor) -> Tensor:
        """(batch, frame_channels, frames) -> (batch, frames, layers, 2 * channels)."""

    @abstractmethod
    def new_state(self, batch: int) -> GenerationState:
        """Return the state before the first sample."""

    def forward(self, frames: Tensor) -> Tensor:
        """Generate with temperature 1 and the numbers of seed 0."""
        return self.generate(frames, UniformNoise(frames.shape[0]))

    def generate(
        self,
        frames: Tensor,
        noise: UniformNoise,
        temperature: float = 1.0,
        state: GenerationState | None = None,
        put: Callable[[Tensor], object] | None = None,
    ) -> Tensor:
        """Generate the samples of frames.

        Args:
            frames (`torch.Tensor` of shape `(batch, frame_channels, frames)`): Frames.
            noise (`UniformNoise`): Random source.
            temperature (`float`): Factor of the spread; 0 takes the most probable values.
            state (`GenerationState`, *optional*): State after the frames before; it is updated.
            put (`Callable`, *optional*): Called with the samples of each frame, (batch, audio_channels, hop_length).

        Returns:
            `torch.Tensor` of shape `(batch, audio_channels, frames * hop_length)`: Samples.
        """
        batch, _, count = frames.shape
        samples = frames.new_empty(batch, self.audio_channels, count, self.hop_length)
        with torch.inference_mode():
            state = self.new_state(batch) if state is None else state
            pieces = frames.split(PIECE_FRAMES, dim=2)
            for index, conditions in enumerate(c for piece in pieces for c in self.conditions(piece).unbind(dim=1)):
                uniform = noise.next(self.hop_length, self.audio_channels, frames.device)
                samples[:, :, index] = state.next(conditions, uniform, temperature)
                if put is not None:
                    put(samples[:, :, index].clone())
        return samples.flatten(2)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
