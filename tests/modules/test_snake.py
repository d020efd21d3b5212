import subprocess

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hf_audio_vae.modules import snake as snake_module
from hf_audio_vae.modules.activations import LinearSnake1d, Snake1d
from hf_audio_vae.modules.snake import snake, written_out
from hf_audio_vae.runtime.native import native_kernels
from hf_audio_vae.runtime.snake_cpu import allow_compiled_kernels
from tests.memory import saved_bytes

SHAPE = (2, 3, 50)
EXACT = {"rtol": 1e-12, "atol": 1e-12}  # of float64


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """A loud signal, and factors of both signs as DAC has them."""
    factors = (noise(1, shape[1], 1, seed=seed, dtype=dtype) for seed in (1, 2))
    return tuple(t.requires_grad_() for t in (3 * noise(*shape, dtype=dtype), *factors))


def gradients(function, tensors: tuple[Tensor, ...], grad: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(function(*tensors), tensors, grad)


@pytest.fixture(params=[1, 7, 2**17], ids=["parts of a row", "rows and parts", "all at once"])
def block(request, monkeypatch):
    """Sizes of a block at which a row of 50 is cut, or shares one with others; for any number of threads."""
    monkeypatch.setattr(snake_module, "BLOCK", request.param)


def test_value_and_gradients_equal_those_of_the_formula(block):
    tensors = inputs(*SHAPE)
    torch.testing.assert_close(snake(*tensors), written_out(*tensors), **EXACT)
    with torch.no_grad():
        torch.testing.assert_close(snake(*tensors), written_out(*tensors), **EXACT)
    grad = noise(*SHAPE, seed=3)
    for actual, expected in zip(gradients(snake, tensors, grad), gradients(written_out, tensors, grad), strict=True):
        torch.testing.assert_close(actual, expected, **EXACT)


def test_float32_gradients_are_as_near_to_float64s_as_their_terms_are_rounded():
    tensors = inputs(2, 3, 4000, dtype=torch.float32)
    grad = noise(2, 3, 4000, seed=3, dtype=torch.float32)
    x, a, b = exact = tuple(t.detach().double().requires_grad_() for t in tensors)
    of_x, of_a, of_b = gradients(written_out, exact, grad.double())
    # Each product is rounded a handful of times, and the angle once, by a share of itself; a sum is that of all terms.
    rounding = 2**-23 * (8 + (a * x).abs().max())
    terms = {
        "x": grad.abs() * (1 + (a * b).abs()),
        "a": (grad * b * x).abs().sum(dim=(0, 2), keepdim=True),
        "b": grad.abs().double().sum(dim=(0, 2), keepdim=True),
    }
    for actual, expected, size in zip(
        gradients(snake, tensors, grad), (of_x, of_a, of_b), terms.values(), strict=True
    ):
        assert ((actual - expected).abs() <= rounding * size).all()


@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded"])
def test_any_layout_gives_the_same(layout):
    x, a, b = (t.detach() for t in inputs(*SHAPE))
    strange = {
        "transposed": x.transpose(1, 2).contiguous().transpose(1, 2),
        "strided": torch.stack((x, -x), dim=-1).flatten(2)[..., ::2],
        "expanded": x[:1].expand(2, -1, -1),
    }[layout].requires_grad_()
    plain = strange.detach().contiguous().requires_grad_()
    grad = noise(3, 50, seed=3).expand(*SHAPE)
    assert torch.equal(snake(strange, a, b), snake(plain, a, b))
    assert torch.equal(
        *(torch.autograd.grad(snake(x, a, b), x, grad)[0] for x in (strange, plain)),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(1, 2, 0), (0, 2, 3), (1, 1, 1)])
def test_signals_of_no_length_pass(shape, dtype):
    tensors, grad = inputs(*shape, dtype=dtype), noise(*shape, dtype=dtype)
    for actual, expected in zip(gradients(snake, tensors, grad), gradients(written_out, tensors, grad), strict=True):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@torch.no_grad()
def test_transforms_work_without_a_record_of_gradients(dtype):
    x, a, b = (tensor.detach() for tensor in inputs(*SHAPE, dtype=dtype))
    along = noise(*SHAPE, seed=4, dtype=dtype)
    actual = torch.func.jvp(lambda x: snake(x, a, b), (x,), (along,))
    expected = torch.func.jvp(lambda x: written_out(x, a, b), (x,), (along,))
    torch.testing.assert_close(actual, expected)
    items = torch.func.vmap(lambda item: snake(item[None], a, b)[0])(x)
    torch.testing.assert_close(items, written_out(x, a, b))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", [Snake1d, LinearSnake1d])
def test_half_precision_is_float32_rounded_once(kind, dtype):
    layer = kind(3)
    for parameter in layer.parameters():
        parameter.data.add_(0.5 * noise(*parameter.shape, dtype=torch.float32)).copy_(parameter.to(dtype))
    half, grad = noise(*SHAPE).to(dtype).requires_grad_(), noise(*SHAPE, seed=3).to(dtype)
    wide = half.detach().float().requires_grad_()
    expected = layer(wide)
    (of_wide,) = torch.autograd.grad(expected, wide, grad.float())
    with torch.autocast("cpu", dtype=dtype):
        mixed = layer(half)
    for actual in (mixed, layer.to(dtype)(half)):
        assert torch.equal(actual, expected.to(dtype))
        assert torch.equal(torch.autograd.grad(actual, half, grad)[0], of_wide.to(dtype))


@pytest.mark.parametrize("kind", [Snake1d, LinearSnake1d])
def test_only_the_input_is_kept(kind):
    layer, x = kind(4), noise(2, 4, 1000, dtype=torch.float32).requires_grad_()
    kept = saved_bytes(lambda: layer(x.clone()), layer.parameters())
    numbers_a_channel = 8  # the factors, what they are made of, and one or two steps between
    assert kept <= x.nbytes + numbers_a_channel * 4 * x.element_size()


def test_second_derivatives_are_right():
    tensors = inputs(2, 2, 3)
    assert torch.autograd.gradgradcheck(snake, tensors)  # of the gradients that are recorded: are they the same?
    recorded = torch.autograd.grad(snake(*tensors).sum(), tensors, create_graph=True)
    for actual, expected in zip(recorded, torch.autograd.grad(snake(*tensors).sum(), tensors), strict=True):
        torch.testing.assert_close(actual, expected, **EXACT)


def test_derivatives_along_a_direction_are_right():
    tensors = inputs(2, 2, 3)
    assert torch.autograd.gradcheck(snake, tensors, check_forward_ad=True, check_backward_ad=False)


def test_a_gradient_for_each_item_is_right():
    x, a, b = (t.detach() for t in inputs(*SHAPE))

    def total(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        return snake(x[None], a, b).square().sum()

    together = torch.func.vmap(torch.func.grad(total, argnums=(0, 1, 2)), in_dims=(0, None, None))(x, a, b)
    totals = torch.func.vmap(lambda x: snake(x, a, b).square().sum(), in_dims=1)(x.unsqueeze(0))
    for i, item in enumerate(x):
        torch.testing.assert_close(totals[i], total(item, a, b), **EXACT)
        for actual, expected in zip(together, torch.func.grad(total, argnums=(0, 1, 2))(item, a, b), strict=True):
            torch.testing.assert_close(actual[i], expected, **EXACT)


def test_a_checkpoint_gives_the_same_gradients():
    tensors, grad = inputs(*SHAPE), noise(*SHAPE, seed=3)
    again = gradients(lambda *t: checkpoint(snake, *t, use_reentrant=False), tensors, grad)
    assert all(torch.equal(a, b) for a, b in zip(again, gradients(snake, tensors, grad), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Snake1d, LinearSnake1d])
def test_compiles_as_one_graph_to_the_same_gradients(kind):
    layer = kind(3).double()
    tensors, grad = (inputs(*SHAPE)[0], *layer.parameters()), noise(*SHAPE, seed=3)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(layer(tensors[0]), tensors, grad)
    for actual, wanted in zip(torch.autograd.grad(compiled(tensors[0]), tensors, grad), expected, strict=True):
        torch.testing.assert_close(actual, wanted, **EXACT)


def test_exports_for_every_length():
    layer, time = Snake1d(3).double(), torch.export.Dim("time", min=2)
    exported = torch.export.export(layer, (noise(*SHAPE),), dynamic_shapes=({2: time},)).module()
    longer = noise(2, 3, 70)
    torch.testing.assert_close(exported(longer), layer(longer), **EXACT)


@pytest.fixture
def compiled_kernels():
    before = allow_compiled_kernels()
    yield
    allow_compiled_kernels(before)


def test_compiled_kernels_agree_with_blocks(compiled_kernels):
    if native_kernels(torch.float32) is None:
        pytest.skip("nothing compiles the kernels here")
    tensors = inputs(2, 5, 4321, dtype=torch.float32)  # neither whole vectors nor whole sums
    grad = noise(2, 5, 4321, seed=3, dtype=torch.float32)
    compiled = snake(*tensors), *gradients(snake, tensors, grad)
    allow_compiled_kernels(False)
    for actual, expected in zip(compiled, (snake(*tensors), *gradients(snake, tensors, grad)), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6 * float(expected.abs().max()))


def test_no_compiler_is_started_unless_it_is_allowed(monkeypatch):
    def start(*arguments, **options):
        raise AssertionError("a process was started")

    native_kernels.cache_clear()
    monkeypatch.setattr(subprocess, "run", start)
    tensors = inputs(1, 2, 300, dtype=torch.float32)
    snake(*tensors)
    gradients(snake, tensors, noise(1, 2, 300, dtype=torch.float32))
    monkeypatch.undo()
    native_kernels.cache_clear()
