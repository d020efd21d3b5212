"""Accuracy of the Snake kernels against float64, and their speed."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator

import torch
from gpu.setting import Part, Setting, Table
from measuring import median_seconds, relative_difference
from torch import Tensor

from hf_audio_vae.modules.snake import kernels_for, snake, written_out

SHAPES = (
    (1, 1, 1),
    (1, 3, 7),
    (2, 5, 1023),
    (1, 2, 1024),
    (3, 7, 1025),
    (2, 33, 4099),
    (1, 129, 70001),
    (70000, 1, 3),
)
LAYOUTS = ("contiguous", "transposed", "sliced")
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
PARAMETER_TOLERANCE = 1e-4  # sums of up to 10^7 products in float32, relative to the largest sum


def run(setting: Setting) -> Iterator[Part]:
    """Compare all cases with float64, and time layers of the published Stable Audio Open encoder."""
    yield lambda: accuracy(setting)
    shapes = ((1, 8, 512),) if setting.dry_run else ((1, 128, 441000), (8, 128, 441000), (8, 2048, 3446))
    for shape, dtype in itertools.product(shapes, (torch.float32, torch.bfloat16)):
        yield functools.partial(speed, setting, shape, dtype)


def accuracy(setting: Setting) -> Table:
    """Compare all cases with float64; return rows of the worst errors and of every wrong case."""
    shapes = SHAPES[:5] if setting.dry_run else SHAPES
    wrong: list[list[str | float]] = []
    worst: dict[torch.dtype, list[float]] = {dtype: [0.0] * 4 for dtype in DTYPES}
    count = 0
    for shape, layout, dtype in itertools.product(shapes, LAYOUTS, DTYPES):
        errors = case_errors(setting.device, shape, layout, dtype)
        bound = torch.finfo(dtype).eps
        limits = (max(bound, 4e-6), max(bound, 4e-6), PARAMETER_TOLERANCE, PARAMETER_TOLERANCE)
        worst[dtype] = [max(pair, key=_severity) for pair in zip(worst[dtype], errors, strict=True)]
        count += 1
        if not all(error <= limit for error, limit in zip(errors, limits, strict=True)):
            wrong.append([f"{shape}, {layout}, {dtype}", *errors])
    header = ["", "output", "gradient of x", "of the frequency", "of the magnitude"]
    summary: list[list[str | float]] = [[f"worst, {dtype}", *errors] for dtype, errors in worst.items()]
    title = f"Errors of {count} cases over the largest value, {len(wrong)} wrong; {kernels_in_use(setting)}"
    return Table(title, header, summary + wrong, [str(row[0]) for row in wrong])


def _severity(error: float) -> float:
    return math.inf if math.isnan(error) else error


def kernels_in_use(setting: Setting) -> str:
    """Return the name of the kernels in use."""
    one = torch.ones(1, 1, 1, device=setting.device)
    kernels = kernels_for(one, one, one)
    return "no kernels" if kernels is None else type(kernels).__name__


def case_errors(device: torch.device, shape: tuple[int, ...], layout: str, dtype: torch.dtype) -> list[float]:
    """Return the errors of output and gradients, relative to the largest value of each in float64."""
    generator = torch.Generator().manual_seed(0)

    def tensor(size: tuple[int, ...], kind: str) -> Tensor:
        if kind == "transposed":
            value = torch.randn(size[0], size[2], size[1], generator=generator).to(dtype).transpose(1, 2)
            return value.to(device)
        if kind == "sliced":
            return torch.randn(size[0], size[1], 2 * size[2], generator=generator).to(dtype).to(device)[..., ::2]
        return torch.randn(size, generator=generator).to(dtype).to(device)

    x, grad_output = tensor(shape, layout), tensor(shape, layout)
    factors = [torch.randn(1, shape[1], 1, generator=generator).exp().to(device) for _ in range(2)]
    inputs = [value.detach().requires_grad_() for value in (x, *factors)]
    exact = [value.detach().double().requires_grad_() for value in (x, *factors)]
    output, expected = snake(*inputs), written_out(*exact)
    found = [output.detach(), *torch.autograd.grad(output, inputs, grad_output)]
    correct = [expected.detach(), *torch.autograd.grad(expected, exact, grad_output.double())]
    return [relative_difference(a.double(), b) for a, b in zip(found, correct, strict=True)]


def speed(setting: Setting, shape: tuple[int, ...], dtype: torch.dtype) -> Table:
    """Time Snake forward, and forward and backward, compared with its formula in eager mode and in inductor."""
    x = torch.randn(shape, device=setting.device, dtype=dtype, requires_grad=True)
    factors = [torch.rand(1, shape[1], 1, device=setting.device, requires_grad=True) for _ in range(2)]
    torch._dynamo.reset()
    backend = "eager" if setting.dry_run else "inductor"
    compiled = torch.compile(written_out, dynamic=False, backend=backend)
    rows: list[list[str | float]] = []
    for name, both in (("forward", False), ("forward and backward", True)):
        runs = [functools.partial(_pass, form, x, factors, both) for form in (written_out, compiled, snake)]
        for function in runs:
            function()
        eager, inductor, ours = median_seconds(runs, 3 if setting.dry_run else 20, setting.clock)
        tensors_moved = 5 if both else 2  # forward: x, y; backward: x, grad_output, gradient of x
        traffic = x.numel() * x.element_size() * tensors_moved
        share = traffic / ours / setting.peaks["copy"] if "copy" in setting.peaks else "-"
        rows.append([name, 1e3 * ours, eager / ours, inductor / ours, share])
    return Table(f"Speed of Snake, {shape}, {dtype}", ["", "ms", "eager / ours", "inductor / ours", "copy rate"], rows)


def _pass(form: Callable[..., Tensor], x: Tensor, factors: list[Tensor], both: bool) -> Tensor:
    if both:
        y = form(x, *factors)
        return torch.autograd.grad(y, (x, *factors), y.detach())[0]
    with torch.no_grad():
        return form(x, *factors)
