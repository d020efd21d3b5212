import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae.modules.snake import snake, written_out

pytest.importorskip("triton")

SHAPES = ((2, 3, 50), (1, 2, 2500), (3, 1, 1))  # within a program's block, longer than it, the shortest


def tensors_on(device: str, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    sizes = (shape, shape, (1, shape[1], 1), (1, shape[1], 1))
    grad, x, a, b = (torch.randn(size, generator=generator).to(device) for size in sizes)
    return grad.to(dtype), x.to(dtype), a, b


def check(device: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Compare both kernels with float64 autograd of the formula."""
    from hf_audio_vae.runtime import snake_triton

    grad, x, a, b = tensors_on(device, shape, dtype)
    exact = tuple(t.double().requires_grad_() for t in (x, a, b))
    expected = written_out(*exact)
    results = (snake_triton.forward(x, a, b), *snake_triton.backward(grad, x, a, b))
    for actual, wanted in zip(results, (expected, *torch.autograd.grad(expected, exact, grad.double())), strict=True):
        # A handful of roundings in float32, summed over time for a channel; then one to the type of the result.
        rounding = 16 * 2**-24 * (shape[0] * shape[2]) ** 0.5
        rtol = torch.finfo(actual.dtype).eps + rounding
        torch.testing.assert_close(actual.double(), wanted, rtol=rtol, atol=rtol)
    again = snake_triton.backward(grad, x, a, b)
    assert all(torch.equal(first, second) for first, second in zip(results[1:], again, strict=True))


def check_all(device: str) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for shape in SHAPES:
            check(device, dtype, shape)


def test_interpreted_kernels_equal_the_formula():
    """In a process of its own: triton asks for the interpreter's variable once, when it is imported."""
    call = "from tests.runtime.test_snake_triton import check_all; check_all('cpu')"
    env = os.environ | {"TRITON_INTERPRET": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", call], env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_compiled_kernels_equal_the_formula():
    check_all("cuda")
    grad, x, a, b = tensors_on("cuda", SHAPES[0], torch.float32)
    x.requires_grad_()
    torch.testing.assert_close(snake(x, a, b), written_out(x, a, b))
    ours, theirs = (torch.autograd.grad(function(x, a, b), x, grad)[0] for function in (snake, written_out))
    torch.testing.assert_close(ours, theirs)
