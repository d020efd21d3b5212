"""A stack of layers that runs on rows, chunk by chunk, each layer computing only what later ones read."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.activations import Snake
from hf_audio_vae.modules.convolution import WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.modules.stack import Residual, Stack
from hf_audio_vae.runtime.fused.steps import Convolution, Step, Upsampling, Workspace, residual_step
from hf_audio_vae.runtime.native import NativeKernels

CHUNK_BYTES = 2**23  # of the largest layer's output, a thread: it is read again soon, and has to be in the cache then


class FusedStack:
    """The layers of an encoder or a decoder, their weights folded and ordered for the compiled kernels.

    It is made of the weights as they are and does not follow them.

    Args:
        modules (`Iterable[torch.nn.Module]`): Convolutions, Snakes, residual units, and blocks of these, in order; a
            `Tanh` may be the last.
        kernels (`NativeKernels`): What computes.

    Raises:
        ValueError: There is a layer that no kernel computes.
    """

    def __init__(self, modules: Iterable[nn.Module], kernels: NativeKernels) -> None:
        self.kernels = kernels
        self.steps: list[Step] = []
        layers = list(_layers(modules))
        self.bounded = isinstance(layers[-1], nn.Tanh)
        if self.bounded:
            layers.pop()
        first, last = layers[0], layers[-1]
        if not isinstance(first, WeightNormConv1d) or not isinstance(last, WeightNormConv1d):
            raise ValueError(f"there is no kernel for {first} or {last} at an end; run the model in its plain form.")
        self.in_channels, self.out_channels = first.weight_v.shape[1], last.weight_v.shape[0]
        channels, snake = self.in_channels, None
        for layer in layers:
            if isinstance(layer, Snake) and snake is None:
                snake = layer
                continue
            self.steps.append(_step(layer, snake, kernels, channels, last=layer is last))
            channels, snake = self.steps[-1].channels, None

    def lengths(self, length: int) -> list[int]:
        """Return the length of a signal at each place: in the input, and in the output of each step."""
        lengths = [length]
        for step in self.steps:
            lengths.append(step.output_length(lengths[-1]))
        return lengths

    def __call__(self, x: Tensor, length: int | None = None) -> Tensor:
        """Run a whole signal, in chunks, perhaps continued by zeros to a `length`; the output is of its dtype.

        (batch, in_channels, time) -> (batch, out_channels, output's length)
        """
        time = x.shape[-1]
        length = time if length is None else length
        output = x.new_empty(x.shape[0], self.out_channels, self.lengths(length)[-1])
        place = 0
        for chunk in self.chunks(lambda start, stop: x[..., start:stop], time, length):
            output[..., place : place + chunk.shape[-1]] = chunk
            place += chunk.shape[-1]
        return output

    def default_chunk(self, length: int) -> int:
        """Return how much of a signal's output to make at a time."""
        lengths = self.lengths(length)
        size = max(4 * step.channels * rows for step, rows in zip(self.steps, lengths[1:], strict=True))
        return max(CHUNK_BYTES * torch.get_num_threads() * lengths[-1] // size, 1)

    def chunks(
        self, read: Callable[[int, int], Tensor], time: int, length: int, chunk: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the output, `chunk` steps of time at once; (batch, out_channels, chunk), the last perhaps shorter.

        Args:
            read (`Callable[[int, int], torch.Tensor]`): `read(start, stop)` returns these steps of the input, (batch,
                in_channels, stop - start); it is asked for each once, in order.
            time (`int`): How many there are, at least 1.
            length (`int`): To how many zeros continue them.
            chunk (`int`, *optional*): Steps of the output, such as fit the cache if not given.
        """
        chunk = chunk or self.default_chunk(length)
        workspace, lengths = Workspace(self.kernels), self.lengths(length)
        flows = [_Flow(self, lengths, workspace)]
        place = 0
        for start in range(0, lengths[-1], chunk):
            stop = min(start + chunk, lengths[-1])
            needed = min(flows[0].needed(stop), time)
            if start == 0:
                items = read(0, needed).to("cpu", torch.float32)
                flows = [_Flow(self, lengths, workspace) for _ in items]
            elif needed > place:
                items = read(place, needed).to("cpu", torch.float32)
            else:
                items = items[..., :0]
            place = needed
            output = torch.stack([flow.next(item, stop) for flow, item in zip(flows, items, strict=True)])
            yield output.tanh_() if self.bounded else output


class _Flow:
    """A signal on its way through a stack: what each layer made of it so far, as far as later rows will read it.

    Places are the input and the output of each step; a place's rows before the signal and after it are 0. No row is
    made twice.
    """

    def __init__(self, stack: FusedStack, lengths: list[int], workspace: Workspace) -> None:
        self.steps = stack.steps
        self.lengths = lengths
        self.channels = [stack.in_channels, *(step.channels for step in self.steps)]
        self.out_channels = stack.out_channels
        self.workspace = workspace
        self.returned = 0
        self.made = [0, *(step.aligned(0, 1)[0] for step in self.steps)]  # up to which row, at each place
        self.first = [min(self._first_read(place), made) for place, made in enumerate(self.made)]
        self.kept = [  # rows from `first` to `made`, which will be read again
            torch.zeros(made - first, channels, dtype=torch.float32, device="cpu")
            for first, made, channels in zip(self.first, self.made, self.channels, strict=True)
        ]

    def needed(self, stop: int) -> int:
        """Return up to which step of the input the output up to `stop` reads; past its end, zeros."""
        return self._stops(stop)[0]

    def next(self, inputs: Tensor, stop: int) -> Tensor:
        """Return the output up to `stop`, from where the last call stopped; (out_channels, stop - start).

        `inputs` are the steps of the input that are needed for that and were not given yet, (in_channels, time).
        """
        stops = self._stops(stop)
        x = self._buffer(0, stops)
        new = x[len(self.kept[0]) :]
        new[: inputs.shape[-1]] = inputs.T
        new[inputs.shape[-1] :] = 0
        self.made[0] = stops[0]
        for place, step in enumerate(self.steps):
            y = self._buffer(place + 1, stops)
            self._make(
                step, x[self._first_read(place) - self.first[place] :], y[len(self.kept[place + 1]) :], place + 1
            )
            self.made[place + 1] = stops[place + 1]
            self._keep(place, x)
            x = y
        output = x[: stop - self.returned, : self.out_channels].T.clone()
        self.returned = stop
        self._keep(len(self.steps), x)
        return output

    def _make(self, step: Step, x: Tensor, new: Tensor, place: int) -> None:
        if len(new):
            step.run(x, new, self.workspace)
            new[: max(-self.made[place], 0)] = 0
            new[max(self.lengths[place] - self.made[place], 0) :] = 0

    def _first_read(self, place: int) -> int:
        """Return the first row there that rows not yet made read."""
        if place == len(self.steps):
            return self.returned
        step, made = self.steps[place], self.made[place + 1]
        return step.input_span(*step.aligned(made, made + 1))[0]

    def _keep(self, place: int, x: Tensor) -> None:
        """Keep of the rows `x`, made by now, those that will be read again: the memory is the next chunk's."""
        first = min(self._first_read(place), self.made[place])
        self.kept[place] = x[first - self.first[place] :].clone()
        self.first[place] = first

    def _stops(self, stop: int) -> list[int]:
        """Return up to which row each place has to be made."""
        stops = [max(stop, self.made[-1])]
        for step, made_in, made_out in zip(self.steps[::-1], self.made[-2::-1], self.made[::-1], strict=False):
            stops[-1] = step.aligned(made_out, stops[-1])[1] if stops[-1] > made_out else made_out
            read = step.input_span(made_out, stops[-1])[1] if stops[-1] > made_out else made_in
            stops.append(max(read, made_in))
        return stops[::-1]

    def _buffer(self, place: int, stops: list[int]) -> Tensor:
        """Return memory for the rows that were kept, with these, and those to be made."""
        kept = self.kept[place]
        x = self.workspace.rows(len(kept) + stops[place] - self.made[place], self.channels[place])
        x[: len(kept)] = kept
        return x


def _layers(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers, blocks opened and what does nothing left out."""
    for module in modules:
        if isinstance(module, Stack):
            yield from _layers(module.layers())
        elif not isinstance(module, nn.Identity):
            yield module


def _step(layer: nn.Module, snake: Snake | None, kernels: NativeKernels, in_channels: int, *, last: bool) -> Step:
    if isinstance(layer, WeightNormConvTranspose1d):
        return Upsampling(layer, snake, kernels, in_channels=in_channels)
    if isinstance(layer, WeightNormConv1d) and not layer.alignment.mirrored:
        return Convolution(layer, snake, kernels, in_channels=in_channels, last=last)
    if isinstance(layer, Residual) and isinstance(layer.shortcut, nn.Identity) and snake is None:
        match tuple(layer.branch()):
            case (Snake() as a, WeightNormConv1d() as first, Snake() as b, WeightNormConv1d() as second):
                if not first.alignment.mirrored:
                    return residual_step((first, second), (a, b), kernels)
    raise ValueError(f"there is no kernel for {layer}; run the model in its plain form.")
