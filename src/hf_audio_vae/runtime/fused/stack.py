"""A stack of layers on rows, run chunk by chunk. Each layer computes only the rows that later layers read."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from hf_audio_vae.modules.activations import Snake
from hf_audio_vae.modules.convolution import WeightNormConv1d, WeightNormConvTranspose1d
from hf_audio_vae.modules.stack import Residual, layers_of
from hf_audio_vae.runtime.fused.steps import Convolution, Step, Upsampling, Workspace, residual_step
from hf_audio_vae.runtime.native import NativeKernels

CHUNK_BYTES = 2**23  # of the largest layer's output, per thread: the next layer reads it from the cache


class FusedStack:
    """The layers of an encoder or a decoder, their weights folded and ordered for the compiled kernels.

    It copies the weights when it is made and does not follow later changes.

    Args:
        modules (`Iterable[torch.nn.Module]`): Convolutions, Snakes, residual units, and blocks of these, in order; a
            `Tanh` may be the last.
        kernels (`NativeKernels`): The compiled kernels.

    Raises:
        ValueError: A layer has no kernel.
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
            ends = f"{type(first).__name__} as first or {type(last).__name__} as last layer"
            raise ValueError(f"there is no kernel for {ends}; run the model in its plain form.")
        self.in_channels, self.out_channels = first.weight_v.shape[1], last.weight_v.shape[0]
        channels, snake = self.in_channels, None
        for layer in layers:
            if isinstance(layer, Snake) and snake is None:
                snake = layer
                continue
            self.steps.append(_step(layer, snake, kernels, channels, last=layer is last))
            channels, snake = self.steps[-1].channels, None

    def lengths(self, length: int) -> list[int]:
        """Return the length of the input and of the output of each step."""
        lengths = [length]
        for step in self.steps:
            lengths.append(step.output_length(lengths[-1]))
        return lengths

    def __call__(self, x: Tensor, length: int | None = None) -> Tensor:
        """Run a whole signal in chunks, padded with zeros to `length` if given; the output has the dtype of `x`.

        (batch, in_channels, time) -> (batch, out_channels, output's length)
        """
        time = x.shape[-1]
        length = time if length is None else length
        output = x.new_empty(x.shape[0], self.out_channels, self.lengths(length)[-1])
        offset = 0
        for chunk in self.chunks(lambda start, stop: x[..., start:stop], time, length):
            output[..., offset : offset + chunk.shape[-1]] = chunk
            offset += chunk.shape[-1]
        return output

    def default_chunk(self, length: int) -> int:
        """Return the default number of output steps per chunk."""
        lengths = self.lengths(length)
        size = max(4 * step.channels * rows for step, rows in zip(self.steps, lengths[1:], strict=True))
        return max(CHUNK_BYTES * torch.get_num_threads() * lengths[-1] // size, 1)

    def chunks(
        self, read: Callable[[int, int], Tensor], time: int, length: int, chunk: int | None = None
    ) -> Iterator[Tensor]:
        """Yield the output in chunks, (batch, out_channels, chunk); the last one may be shorter.

        Args:
            read (`Callable[[int, int], torch.Tensor]`): `read(start, stop)` returns these steps of the input, (batch,
                in_channels, stop - start); each step is read once, in order.
            time (`int`): Steps of the input, at least 1.
            length (`int`): The input is padded with zeros to this length.
            chunk (`int`, *optional*): Steps of the output per chunk; if not given, a chunk fits the cache.
        """
        chunk = chunk or self.default_chunk(length)
        workspace, lengths = Workspace(self.kernels), self.lengths(length)
        states = [_SignalState(self, lengths, workspace)]
        position = 0
        for start in range(0, lengths[-1], chunk):
            stop = min(start + chunk, lengths[-1])
            needed = min(states[0].needed(stop), time)
            if start == 0:
                items = read(0, needed).to("cpu", torch.float32)
                states = [_SignalState(self, lengths, workspace) for _ in items]
            elif needed > position:
                items = read(position, needed).to("cpu", torch.float32)
            else:
                items = items[..., :0]
            position = needed
            output = torch.stack([state.next(item, stop) for state, item in zip(states, items, strict=True)])
            yield output.tanh_() if self.bounded else output


class _SignalState:
    """The state of one signal in a stack: the rows of each layer that later rows will read.

    Stage 0 is the input, stage i + 1 the output of step i. Rows before and after the signal are 0. No row is computed
    twice.
    """

    def __init__(self, stack: FusedStack, lengths: list[int], workspace: Workspace) -> None:
        self.steps = stack.steps
        self.lengths = lengths
        self.channels = [stack.in_channels, *(step.channels for step in self.steps)]
        self.out_channels = stack.out_channels
        self.workspace = workspace
        self.returned = 0
        self.computed = [0, *(step.aligned(0, 1)[0] for step in self.steps)]  # end of the computed rows of each stage
        self.first = [min(self._first_read(stage), end) for stage, end in enumerate(self.computed)]
        self.kept = [  # rows from `first` to `computed`, which will be read again
            torch.zeros(end - first, channels, dtype=torch.float32, device="cpu")
            for first, end, channels in zip(self.first, self.computed, self.channels, strict=True)
        ]

    def needed(self, stop: int) -> int:
        """Return the end of the input that the output up to `stop` reads; inputs past the signal are 0."""
        return self._stops(stop)[0]

    def next(self, inputs: Tensor, stop: int) -> Tensor:
        """Return the output from the end of the last call up to `stop`; (out_channels, stop - start).

        `inputs` are the needed steps of the input that earlier calls did not get, (in_channels, time).
        """
        stops = self._stops(stop)
        x = self._buffer(0, stops)
        new = x[len(self.kept[0]) :]
        new[: inputs.shape[-1]] = inputs.T
        new[inputs.shape[-1] :] = 0
        self.computed[0] = stops[0]
        for stage, step in enumerate(self.steps):
            y = self._buffer(stage + 1, stops)
            self._compute(
                step, x[self._first_read(stage) - self.first[stage] :], y[len(self.kept[stage + 1]) :], stage + 1
            )
            self.computed[stage + 1] = stops[stage + 1]
            self._keep(stage, x)
            x = y
        output = x[: stop - self.returned, : self.out_channels].T.clone()
        self.returned = stop
        self._keep(len(self.steps), x)
        return output

    def _compute(self, step: Step, x: Tensor, new: Tensor, stage: int) -> None:
        if len(new):
            step.run(x, new, self.workspace)
            new[: max(-self.computed[stage], 0)] = 0
            new[max(self.lengths[stage] - self.computed[stage], 0) :] = 0

    def _first_read(self, stage: int) -> int:
        """Return the first row of a stage that rows not yet computed read."""
        if stage == len(self.steps):
            return self.returned
        step, end = self.steps[stage], self.computed[stage + 1]
        return step.input_span(*step.aligned(end, end + 1))[0]

    def _keep(self, stage: int, x: Tensor) -> None:
        """Copy the rows of `x` that will be read again; the next chunk reuses the memory of `x`."""
        first = min(self._first_read(stage), self.computed[stage])
        self.kept[stage] = x[first - self.first[stage] :].clone()
        self.first[stage] = first

    def _stops(self, stop: int) -> list[int]:
        """Return the end of the rows to compute at each stage."""
        stops = [max(stop, self.computed[-1])]
        for step, end_in, end_out in zip(self.steps[::-1], self.computed[-2::-1], self.computed[::-1], strict=False):
            stops[-1] = step.aligned(end_out, stops[-1])[1] if stops[-1] > end_out else end_out
            read = step.input_span(end_out, stops[-1])[1] if stops[-1] > end_out else end_in
            stops.append(max(read, end_in))
        return stops[::-1]

    def _buffer(self, stage: int, stops: list[int]) -> Tensor:
        """Return a buffer that begins with the kept rows and has space for those to compute."""
        kept = self.kept[stage]
        x = self.workspace.rows(len(kept) + stops[stage] - self.computed[stage], self.channels[stage])
        x[: len(kept)] = kept
        return x


def _layers(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers of nested blocks, without identities."""
    for module in modules:
        if (layers := layers_of(module)) is not None:
            yield from _layers(layers)
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
    raise ValueError(f"there is no kernel for {type(layer).__name__}; run the model in its plain form.")
