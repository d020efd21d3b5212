"""Streams: layers with the state of one signal."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from hf_audio_vae.modules.alignment import Alignment, TransposedAlignment, reflect
from hf_audio_vae.modules.autoregressive import AutoregressiveWaveNet
from hf_audio_vae.modules.frame_generation import GenerationState, UniformNoise
from hf_audio_vae.modules.seanet import SkipLSTM
from hf_audio_vae.modules.short_time import InverseSTFT

# For at most this many outputs, a convolution on one core is faster as a product of its weight and windows of the
# input: in rows (`FEW`) or columns (`MANY`). For more outputs, copying the windows costs more than it saves.
FEW, MANY = 32, 1024


class Stream(ABC):
    """A layer with the state of one signal."""

    @abstractmethod
    def push(self, x: Tensor, last: bool = False) -> Tensor:
        """Push the next inputs and return the outputs that they determine.

        Args:
            x (`torch.Tensor` of shape `(batch, in_channels, n)`): The next n >= 0 inputs; of layers on spectrograms,
                `(batch, in_channels, bins, n)`.
            last (`bool`): The signal ends with these inputs; all remaining outputs are returned.

        Returns:
            `torch.Tensor` of shape `(batch, out_channels, m)`: The next m >= 0 outputs, with bins likewise.
        """

    @abstractmethod
    def reset(self) -> None:
        """Clear the state."""


class Chain(Stream):
    """A sequence of streams."""

    def __init__(self, streams: Iterable[Stream]) -> None:
        self.streams = tuple(streams)

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        for stream in self.streams:
            x = stream.push(x, last)
        return x

    def reset(self) -> None:
        for stream in self.streams:
            stream.reset()


class Pointwise(Stream):
    """A function that is applied to each sample or frame independently."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        return self.function(x) if x.shape[-1] else self.function(F.pad(x, (0, 1)))[..., :0]

    def reset(self) -> None:
        """Do nothing: there is no state."""


class WindowedStream(Stream):
    """Keeps the inputs that later outputs read; initially the left padding."""

    def __init__(self, alignment: Alignment) -> None:
        self.alignment = alignment
        self.reset()

    @abstractmethod
    def compute(self, x: Tensor, count: int) -> Tensor:
        """Return the outputs that `x` determines, `count` of them; (..., n) -> (..., count)."""

    def empty(self, x: Tensor) -> Tensor:
        """(..., n) -> (..., 0)."""
        return self.compute(x.new_zeros(*x.shape[:-1], self.alignment.reach), 1)[..., :0]

    def reset(self) -> None:
        self.kept: Tensor | None = None
        self.starts_mirrored = self.alignment.mirrored  # no output until the inputs that the padding mirrors are there

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        if self.kept is None:
            self.kept = x.new_zeros(*x.shape[:-1], 0 if self.starts_mirrored else self.alignment.left)
        if self.kept.shape[-1]:
            x = torch.cat([self.kept, x], dim=-1)
        x = self._padded(x, last)
        reach, stride = self.alignment.reach, self.alignment.stride
        waits = self.starts_mirrored or x.shape[-1] < reach
        count = 0 if waits else (x.shape[-1] - reach) // stride + 1
        if reach > 1:
            self.kept = x[..., count * stride :].clone()  # a view would keep all of `x` in memory
        return self.compute(x, count) if count else self.empty(x)

    def _padded(self, x: Tensor, last: bool) -> Tensor:
        left, right = self.alignment.left, self.alignment.right if last else 0
        if self.starts_mirrored and (last or x.shape[-1] > left):
            self.starts_mirrored = False
            return reflect(x, left, right)
        return F.pad(x, (0, right), mode="reflect" if self.alignment.mirrored else "constant") if right else x


class ConvolutionStream(WindowedStream):
    """Convolution."""

    def __init__(self, weight: Tensor, bias: Tensor | None, alignment: Alignment) -> None:
        super().__init__(alignment)
        self.weight = copied(weight)
        self.bias = weight.new_zeros(len(weight)) if bias is None else copied(bias)

    def empty(self, x: Tensor) -> Tensor:
        return x.new_empty(x.shape[0], self.weight.shape[0], 0)

    def compute(self, x: Tensor, count: int) -> Tensor:
        stride, dilation = self.alignment.stride, self.alignment.dilation
        if count > MANY:
            return F.conv1d(x, self.weight, self.bias, stride, 0, dilation)
        (batch, channels, _), taps = x.shape, self.weight.shape[2]
        by_item, by_channel, by_time = x.stride()
        weight, step, tap_step = self.weight.flatten(1), stride * by_time, dilation * by_time
        if count > FEW:
            windows = x.as_strided((batch, channels, taps, count), (by_item, by_channel, tap_step, step)).flatten(1, 2)
            return torch.baddbmm(self.bias[:, None], weight.expand(batch, -1, -1), windows)
        windows = x.as_strided((batch, count, channels, taps), (by_item, step, by_channel, tap_step))
        y = torch.addmm(self.bias, windows.reshape(batch * count, channels * taps), weight.T)
        return y.view(batch, count, -1).transpose(1, 2).contiguous()


class LayerStream(WindowedStream):
    """A layer that computes the outputs of a padded signal."""

    def __init__(self, padded_forward: Callable[[Tensor], Tensor], alignment: Alignment) -> None:
        super().__init__(alignment)
        self.padded_forward = padded_forward

    def compute(self, x: Tensor, count: int) -> Tensor:
        return self.padded_forward(x)


class InverseSTFTStream(Stream):
    """Keeps the contributions of the last frames to the next samples."""

    def __init__(self, layer: InverseSTFT) -> None:
        self.layer = layer
        self.reset()

    def reset(self) -> None:
        self.kept: tuple[Tensor, ...] | None = None
        self.cut = self.layer.alignment.left  # samples still to cut

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        frames, alignment = x.shape[-1], self.layer.alignment
        overlap = alignment.kernel_size - alignment.stride
        sums: tuple[Tensor, ...] = self.layer.overlap_add(x if frames else F.pad(x, (0, 1)))
        if not frames:
            sums = tuple(part[..., :overlap].zero_() for part in sums)
        if self.kept is not None:
            for part, kept in zip(sums, self.kept, strict=True):
                part[..., :overlap] += kept
        determined = frames * alignment.stride
        self.kept = tuple(part[..., determined:].clone() for part in sums)
        stop = determined + (alignment.left if last else 0)
        signal, weight = (part[..., self.cut : stop] for part in sums)
        self.cut = max(self.cut - determined, 0)
        return (signal / weight).to(x.dtype)


class UpsamplingStream(Stream):
    """Keeps the contribution of the last input to the next outputs: the kernel has two strides."""

    def __init__(self, weight: Tensor, bias: Tensor | None, alignment: TransposedAlignment) -> None:
        self.weight = copied(weight)
        self.bias = weight.new_zeros(weight.shape[1]) if bias is None else copied(bias)
        self.stride, self.cut_left = alignment.stride, alignment.cut
        self.reset()

    def reset(self) -> None:
        self.kept: Tensor | None = None
        self.cut = self.cut_left  # outputs still to cut

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        full = self._convolve(x)
        if self.kept is not None:
            full[..., : self.stride] += self.kept
        determined = x.shape[-1] * self.stride
        self.kept = full[..., determined:].clone()
        y = full[..., self.cut : determined + (self.cut_left if last else 0)]
        if determined:
            self.cut = 0
        return y + self.bias[:, None]

    def _convolve(self, x: Tensor) -> Tensor:
        """Return the contributions to the outputs of the n inputs and the next; (batch, out, (n + 1) * stride)."""
        if x.shape[-1] > FEW:
            return F.conv_transpose1d(x, self.weight, None, self.stride)
        taps = (x.transpose(1, 2) @ self.weight.flatten(1)).unflatten(2, (-1, 2, self.stride))
        own, following = taps.transpose(1, 2).unbind(3)  # (batch, out, n, stride) each
        return (F.pad(own, (0, 0, 0, 1)) + F.pad(following, (0, 0, 1, 0))).flatten(2)


class ResidualStream(Stream):
    """Keeps the inputs for which the branch has not yet returned outputs."""

    def __init__(self, branch: Stream, shortcut: Stream) -> None:
        self.branch, self.shortcut = branch, shortcut
        self.reset()

    def reset(self) -> None:
        self.kept: Tensor | None = None
        self.branch.reset()
        self.shortcut.reset()

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        y = self.branch.push(x, last)
        count = y.shape[-1]
        if self.kept is not None:
            x = torch.cat([self.kept, x], dim=-1)
        if count < x.shape[-1]:
            self.kept, x = x[..., count:].clone(), x[..., :count]
        else:
            self.kept = None
        return self.shortcut.push(x, last) + y


class LSTMStream(Stream):
    """Keeps the state of an LSTM."""

    def __init__(self, layer: SkipLSTM) -> None:
        self.lstm = copy.deepcopy(layer.lstm)
        self.reset()

    def reset(self) -> None:
        self.state: tuple[Tensor, Tensor] | None = None

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        if not x.shape[-1]:
            return x
        x = x.permute(2, 0, 1)  # (time, batch, channels)
        y, self.state = self.lstm(x, self.state)
        return (y + x).permute(1, 2, 0)


class GenerationStream(Stream):
    """Keeps the past of an autoregressive network."""

    def __init__(self, layer: AutoregressiveWaveNet) -> None:
        self.layer = copy.deepcopy(layer)
        self.reset()

    def reset(self) -> None:
        self.state: GenerationState | None = None

    def push(self, x: Tensor, last: bool = False) -> Tensor:
        if self.state is None:
            self.state, self.noise = self.layer.new_state(x.shape[0]), UniformNoise(x.shape[0])
        if not x.shape[-1]:
            return x.new_zeros(x.shape[0], self.layer.audio_channels, 0)
        return self.layer.generate(x, self.noise, state=self.state)


def copied(weight: Tensor) -> Tensor:
    """Return a copy that does not follow the layer."""
    return weight.detach().clone()
