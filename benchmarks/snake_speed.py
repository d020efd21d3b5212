"""Time and memory of `Snake1d` compared with diffusers', in eager mode and compiled by inductor.

Parameters are equal. diffusers' layer is compiled for each shape. Times are medians of alternating runs in one
process. A run before compares outputs and gradients. "Kept" is the memory saved for the backward pass, in units of the
input.

    python benchmarks/snake_speed.py --shapes 1,128,65536 2,512,4096 --repeats 9
"""

import functools
from argparse import ArgumentTypeError
from collections.abc import Sequence

import torch
from command_line import Parser, count, main_or_exit
from diffusers.models.autoencoders.autoencoder_oobleck import Snake1d as OobleckSnake1d
from measuring import MIB, median_seconds, print_table, relative_difference, saved_mib
from torch import Tensor, nn

from hf_audio_vae.modules.activations import Snake1d
from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels

OURS, THEIRS, COMPILED = "Snake1d", "Oobleck", "Oobleck, compiled"

SHAPES = ((1, 128, 65536), (2, 512, 4096), (4, 1024, 256))


def layers(channels: int) -> dict[str, nn.Module]:
    """Return the same Snake three times; one compiles for its first input shape."""
    torch._dynamo.reset()
    theirs = OobleckSnake1d(channels)
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.data.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    ours = Snake1d(channels)
    ours.load_state_dict(theirs.state_dict())
    return {THEIRS: theirs, OURS: ours, COMPILED: torch.compile(theirs, dynamic=False)}


def forward(layer: nn.Module, x: Tensor) -> Tensor:
    """Run without gradients."""
    with torch.no_grad():
        return layer(x)


def gradients(layer: nn.Module, x: Tensor, grad_output: Tensor) -> tuple[Tensor, ...]:
    """Run forward and backward; return gradients of the input and both parameters."""
    return torch.autograd.grad(layer(x), (x, *layer.parameters()), grad_output)


def both(layer: nn.Module, x: Tensor, grad_output: Tensor) -> Tensor:
    """Run forward and backward; return the gradient of the input."""
    return gradients(layer, x, grad_output)[0]


def compare(shape: tuple[int, ...], repeats: int) -> list[list[str | float]]:
    """Return a row for forward and for forward and backward: milliseconds, ratios to Oobleck, and kept memory."""
    generator = torch.Generator().manual_seed(1)
    x, grad_output = (torch.randn(shape, generator=generator) for _ in range(2))
    x.requires_grad_()
    named_layers = layers(shape[1])
    results = {name: (forward(layer, x), *gradients(layer, x, grad_output)) for name, layer in named_layers.items()}
    for name, result in results.items():
        worst = max(relative_difference(a, b) for a, b in zip(result, results[THEIRS], strict=True))
        if worst > 1e-5:
            raise SystemExit(f"{name}: outputs or gradients differ by {worst:.1e} of the largest.")
    size = x.nbytes / MIB
    kept = [saved_mib(functools.partial(layer, x), layer.parameters()) / size for layer in named_layers.values()]
    label = "x".join(map(str, shape))
    rows: list[list[str | float]] = []
    for task, arguments in ((forward, (x,)), (both, (x, grad_output))):
        runs = [functools.partial(task, layer, *arguments) for layer in named_layers.values()]
        theirs, ours, compiled = (1e3 * seconds for seconds in median_seconds(runs, repeats))
        shares: list[str] | list[float] = ["", "", ""] if task is forward else kept
        rows.append([f"{label} {task.__name__}", theirs, ours, compiled, ours / theirs, compiled / theirs, *shares])
    return rows


def shape_of(text: str) -> tuple[int, int, int]:
    """Return batch, channels and time of a text such as 1,128,65536."""
    sizes = [count(size) for size in text.split(",")]
    if len(sizes) != 3:
        raise ArgumentTypeError(f"{text!r} has {len(sizes)} sizes; give batch, channels and time: 1,128,65536")
    return sizes[0], sizes[1], sizes[2]


def main(argv: Sequence[str]) -> None:
    """Parse the options and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--shapes", nargs="+", type=shape_of, default=SHAPES)
    parser.add_argument("--repeats", type=count, default=9)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    allow_compiled_kernels()
    names = (THEIRS, OURS, COMPILED)
    header = ["", *(f"{name} ms" for name in names), "ratio", "ratio, compiled", *(f"{name} kept" for name in names)]
    print(f"{arguments.threads} threads")
    print_table(header, [row for shape in arguments.shapes for row in compare(shape, arguments.repeats)])


if __name__ == "__main__":
    main_or_exit(main)
