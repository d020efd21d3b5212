"""The layers of a convolutional stack as steps on rows: (time, channels), float32, channels padded to whole panels.

A step computes rows of its output from exactly the input rows that they read. Rows outside the signal are 0: layers
pad with 0, and Snake of 0 is 0.
"""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.modules.activations import Snake
from hf_audio_vae.modules.convolution import WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.runtime.fused.spectra import SPECTRAL_TAPS, tap_spectra
from hf_audio_vae.runtime.native import NativeKernels, SnakeRows, Window

# Wider residual units are computed tap by tap: the time saved does not justify the memory of spectra (23 matrices
# instead of 7).
MOST_SPECTRAL_CHANNELS = 512


class Workspace:
    """Buffers that steps write to alternately, reused for all chunks of a signal.

    Args:
        kernels (`NativeKernels`): Their dtype is the type of the factors.
    """

    def __init__(self, kernels: NativeKernels) -> None:
        self._dtype = kernels.dtype
        self._memory: dict[str, Tensor] = {}
        self._use_second = False

    def rows(self, count: int, channels: int) -> Tensor:
        """Return uninitialised rows, in another buffer than those of the last call."""
        self._use_second = not self._use_second
        return self._take("second rows" if self._use_second else "first rows", count, channels, torch.float32)

    def hidden(self, count: int, channels: int) -> Tensor:
        """Return uninitialised rows for the intermediate result of a step."""
        return self._take("hidden", count, channels, torch.float32)

    def factors(self, x: Tensor, snake: SnakeRows | None, kernels: NativeKernels) -> Tensor:
        """Return rows as factors, after Snake if there is one; the value after the last one is 0."""
        factors = self._take("factors", len(x), x.shape[1], self._dtype)
        if snake is None:
            return factors.copy_(x)
        kernels.activate(x, factors, snake)
        return factors

    def scratch(self, size: int) -> Tensor:
        """Return uninitialised scratch memory of `size` floats for a kernel."""
        return self._take("scratch", size, 1, torch.float32)

    def _take(self, name: str, count: int, channels: int, dtype: torch.dtype) -> Tensor:
        size = count * channels
        if name not in self._memory or self._memory[name].numel() <= size:
            self._memory.pop(name, None)
            self._memory[name] = torch.empty(
                size + size // 16 + 1, dtype=dtype, device="cpu"
            )  # the next chunk may be longer
        self._memory[name][size] = 0
        return self._memory[name][:size].view(count, channels)


class Step(ABC):
    """A layer or a residual unit that maps rows to rows.

    Args:
        layer (`WeightNormConv1d` or `WeightNormConvTranspose1d`): The layer that determines which rows are read.
        kernels (`NativeKernels`): The compiled kernels.
        channels (`int`): Channels of the output.
    """

    def __init__(
        self, layer: WeightNormConv1d | WeightNormConvTranspose1d, kernels: NativeKernels, channels: int
    ) -> None:
        self.layer = layer
        self.kernels = kernels
        self.channels = channels

    def aligned(self, start: int, stop: int) -> tuple[int, int]:
        """Return the smallest range of rows around [start, stop) that the step can compute."""
        return start, stop

    def input_span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of input rows that the aligned output rows [start, stop) read."""
        return self.layer.input_span(start, stop)

    def output_length(self, length: int) -> int:
        """Return the number of output rows for a signal of `length` input rows."""
        return length

    @abstractmethod
    def run(self, x: Tensor, y: Tensor, workspace: Workspace) -> None:
        """Compute the rows `y` from `x`, which begins with the first row that they read."""


class Convolution(Step):
    """Snake, if there is one, and a convolution.

    The `last` convolution may be narrower than a panel. It then computes several samples at a time, since a panel of
    one sample would be mostly padding.
    """

    def __init__(
        self,
        layer: WeightNormConv1d,
        snake: Snake | None,
        kernels: NativeKernels,
        *,
        in_channels: int,
        last: bool = False,
    ) -> None:
        weight = layer.weight().detach().float()  # (out, in, taps)
        out_channels = weight.shape[0]
        super().__init__(layer, kernels, _padded(out_channels, kernels.width))
        self.snake = None if snake is None else _snake_rows(snake, in_channels)
        self.stride = layer.alignment.stride
        self.samples_per_row = 1
        if last and out_channels < kernels.width and self.stride == layer.alignment.dilation == 1:
            self.channels = 1 << (out_channels - 1).bit_length()
            self.samples_per_row = kernels.width // self.channels
        weight = F.pad(weight, (0, 0, 0, in_channels - weight.shape[1], 0, self.channels - out_channels))
        weight = torch.cat([F.pad(weight, (i, self.samples_per_row - 1 - i)) for i in range(self.samples_per_row)])
        taps = weight.shape[-1]
        matrix = weight.permute(2, 1, 0).flatten(0, 1)  # (taps * in, columns)
        matrix = F.pad(matrix, (0, 0, 0, len(matrix) % 2))  # bfloat16 factors are multiplied in pairs
        self.weight = kernels.panels(matrix)
        self.bias = _bias(layer, self.channels).repeat(self.samples_per_row)
        stride = self.samples_per_row * self.stride * in_channels
        self.window = Window(stride, 1, 0, len(matrix))  # the factors that a row reads are contiguous
        if layer.alignment.dilation > 1:
            self.window = Window(stride, taps, layer.alignment.dilation * in_channels, in_channels)

    def aligned(self, start: int, stop: int) -> tuple[int, int]:
        return start // self.samples_per_row * self.samples_per_row, _padded(stop, self.samples_per_row)

    def output_length(self, length: int) -> int:
        return length // self.stride

    def run(self, x: Tensor, y: Tensor, workspace: Workspace) -> None:
        self.add_to(None, x, y, workspace)

    def add_to(self, added: Tensor | None, x: Tensor, y: Tensor, workspace: Workspace) -> None:
        """Compute the rows of `run`, plus `added`."""
        factors = workspace.factors(x, self.snake, self.kernels)
        self.kernels.convolve(factors, y.view(-1, len(self.bias)), self.weight, self.bias, self.window, added)


class Upsampling(Step):
    """Snake and a transposed convolution: each input row and the one before it give `stride` output rows."""

    def __init__(
        self, layer: WeightNormConvTranspose1d, snake: Snake | None, kernels: NativeKernels, *, in_channels: int
    ) -> None:
        weight = layer.weight().detach().float()  # (in, out, 2 strides)
        super().__init__(layer, kernels, _padded(weight.shape[1], kernels.width))
        self.stride, self.cut = layer.alignment.stride, layer.alignment.cut
        self.snake = None if snake is None else _snake_rows(snake, in_channels)
        weight = F.pad(weight, (0, 0, 0, self.channels - weight.shape[1], 0, in_channels - weight.shape[0]))
        current, previous = weight.permute(0, 2, 1).split(self.stride, dim=1)  # (in, stride, out)
        self.weight = kernels.panels(torch.cat([previous.flatten(1), current.flatten(1)]))
        self.bias = _bias(layer, self.channels).repeat(self.stride)
        self.window = Window(in_channels, 1, 0, 2 * in_channels)

    def aligned(self, start: int, stop: int) -> tuple[int, int]:
        first = (start + self.cut) // self.stride * self.stride
        return first - self.cut, _padded(stop + self.cut, self.stride) - self.cut

    def output_length(self, length: int) -> int:
        return length * self.stride

    def run(self, x: Tensor, y: Tensor, workspace: Workspace) -> None:
        factors = workspace.factors(x, self.snake, self.kernels)
        self.kernels.convolve(factors, y.view(-1, len(self.bias)), self.weight, self.bias, self.window, None)


class TapUnit(Step):
    """A residual unit, the input plus two convolutions of it, computed tap by tap."""

    def __init__(
        self, layers: tuple[WeightNormConv1d, WeightNormConv1d], snakes: tuple[Snake, Snake], kernels: NativeKernels
    ) -> None:
        channels = _padded(layers[0].weight_v.shape[1], kernels.width)
        super().__init__(layers[0], kernels, channels)
        self.first = Convolution(layers[0], snakes[0], kernels, in_channels=channels)
        self.second = Convolution(layers[1], snakes[1], kernels, in_channels=self.first.channels)
        self.left = layers[0].alignment.left

    def run(self, x: Tensor, y: Tensor, workspace: Workspace) -> None:
        hidden = workspace.hidden(len(y), self.first.channels)
        self.first.run(x, hidden, workspace)
        self.second.add_to(x[self.left :], hidden, y, workspace)


class SpectralUnit(Step):
    """A residual unit of constant width with seven taps, computed through spectra in one kernel."""

    def __init__(
        self, layers: tuple[WeightNormConv1d, WeightNormConv1d], snakes: tuple[Snake, Snake], kernels: NativeKernels
    ) -> None:
        width = layers[0].weight_v.shape[1]
        super().__init__(layers[0], kernels, _padded(width, kernels.width))
        missing = self.channels - width
        taps, last = (F.pad(layer.weight().detach().float(), (0, 0, 0, missing, 0, missing)) for layer in layers)
        self.snakes = [_snake_rows(snake, self.channels) for snake in snakes]
        self.spectra = kernels.panels(tap_spectra(taps).transpose(1, 2)).transpose(0, 1).contiguous()  # panels first
        self.weight = kernels.panels(last[..., 0].T)
        self.biases = [_bias(layer, self.channels) for layer in layers]
        self.left, self.dilation = layers[0].alignment.left, layers[0].alignment.dilation

    def run(self, x: Tensor, y: Tensor, workspace: Workspace) -> None:
        scratch = workspace.scratch(self.kernels.unit_scratch(self.channels, self.dilation))
        self.kernels.unit(x, y, self.left, self.dilation, self.snakes, self.spectra, self.weight, self.biases, scratch)


def residual_step(
    layers: tuple[WeightNormConv1d, WeightNormConv1d], snakes: tuple[Snake, Snake], kernels: NativeKernels
) -> Step:
    """Return the faster step for a residual unit."""
    (hidden, width, taps), (_, _, last_taps) = (layer.weight_v.shape for layer in layers)
    spectral = hidden == width <= MOST_SPECTRAL_CHANNELS and taps == SPECTRAL_TAPS and last_taps == 1
    return (SpectralUnit if spectral else TapUnit)(layers, snakes, kernels)


def _padded(count: int, multiple: int) -> int:
    """Return the next multiple of `multiple`."""
    return -(-count // multiple) * multiple


def _bias(layer: WeightNormConv1d | WeightNormConvTranspose1d, channels: int) -> Tensor:
    bias = torch.zeros(channels, dtype=torch.float32, device="cpu")
    if layer.bias is not None:
        bias[: len(layer.bias)] = layer.bias.detach()
    return bias


def _snake_rows(snake: Snake, channels: int) -> SnakeRows:
    """Return Snake's parameters, with 0 for padding channels."""
    factors = (factor.detach().flatten() for factor in snake.factors())
    return SnakeRows(*(F.pad(factor, (0, channels - len(factor))) for factor in factors))
