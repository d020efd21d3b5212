"""The compiled kernels against torch in float64, at every vector width this processor has."""

import ctypes
import hashlib
import os
import platform
import stat
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from huggingface_hub import constants
from torch import Tensor

from hf_audio_vae.runtime import native
from hf_audio_vae.runtime.fused.spectra import tap_spectra
from hf_audio_vae.runtime.native import NativeKernels, SnakeRows, Window, native_kernels

INTEL = platform.machine() == "x86_64"
WIDTHS = {"native": (), "256 bit": ("-mno-avx512f",), "128 bit": ("-mno-avx",)}


@pytest.fixture(params=WIDTHS, scope="module")
def kernels(request) -> NativeKernels:
    if WIDTHS[request.param] and not INTEL:
        pytest.skip("the options are of this architecture")
    if native_kernels(torch.float32) is None:
        pytest.skip("nothing compiles the kernels here")
    library = native.compiled((*native.OPTIONS, native.THIS_PROCESSOR[0], *WIDTHS[request.param]))
    return NativeKernels(library, torch.float32)


@pytest.fixture
def bfloat16_kernels() -> NativeKernels:
    kernels = native_kernels(torch.bfloat16)
    if kernels is None:
        pytest.skip("this processor has no products of bfloat16, or nothing compiles the kernels")
    return kernels


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def assert_close(actual: Tensor, expected: Tensor, relative: float) -> None:
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=relative * float(expected.abs().max()))


def snake_rows(channels: int) -> SnakeRows:
    return SnakeRows(noise(channels).exp(), noise(channels + 1)[1:].exp())


def snake(x: Tensor, rows: SnakeRows) -> Tensor:
    return x + rows.inverse_magnitude.double() * torch.sin(rows.frequency.double() * x).square()


def test_vector_widths_differ(kernels, request):
    expected = {"native": None, "256 bit": 16, "128 bit": 8}[request.node.callspec.params["kernels"]]
    assert expected is None or kernels.width == expected


@pytest.mark.parametrize("size", [1e-3, 1.0, 100.0, 1e5])
def test_snake_is_exact_for_arguments_of_any_size(kernels, size):
    x = size * noise(50, kernels.width)
    ones = SnakeRows(torch.ones(kernels.width), torch.ones(kernels.width))
    y = torch.empty_like(x)
    kernels.activate(x, y, ones)
    # 2e-7 of a square that is at most 1, and one rounding of the sum
    torch.testing.assert_close(y.double(), snake(x.double(), ones), rtol=6e-8, atol=2e-7)


@pytest.mark.parametrize("place", ["x", "frequency", "magnitude"])
def test_snake_hides_nothing_that_is_not_finite(kernels, place):
    values = torch.ones(3, kernels.width)
    values[("x", "frequency", "magnitude").index(place), :3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    x, frequency, magnitude = values
    y = torch.empty(1, kernels.width)
    kernels.activate(x[None].contiguous(), y, SnakeRows(frequency.contiguous(), magnitude.contiguous()))
    expected = x + magnitude * torch.sin(frequency * x).square()
    torch.testing.assert_close(y[0], expected, equal_nan=True)


def test_angles_past_float32s_phases_count_as_none(kernels):
    x = torch.full((1, kernels.width), 1e30)
    y = torch.empty_like(x)
    kernels.activate(x, y, SnakeRows(torch.ones(kernels.width), torch.ones(kernels.width)))
    assert torch.equal(y, x)


def test_only_the_cpus_whole_tensors_are_passed(kernels):
    x = torch.empty(4, 2 * kernels.width)[:, ::2]
    with pytest.raises(ValueError, match="pass a contiguous tensor"):
        kernels.activate(x, x, SnakeRows(torch.ones(kernels.width), torch.ones(kernels.width)))


def test_a_call_with_too_few_arguments_or_of_another_kind_is_an_error(kernels):
    x = torch.zeros(kernels.width)
    with pytest.raises(TypeError):
        kernels.call("snake_forward", x, x, 1)
    with pytest.raises(ctypes.ArgumentError):
        kernels.call("snake_forward", x, x, 1.5, kernels.width, x, x)


@pytest.mark.parametrize("rows", [1, 5, 12, 30, 500])
@pytest.mark.parametrize(("depth", "panels"), [(16, 1), (700, 2)])
def test_a_product_of_any_size(kernels, rows, depth, panels):
    x, matrix = noise(rows, depth), noise(depth, panels * kernels.width)
    bias, added = noise(panels * kernels.width), noise(rows + 1, panels * kernels.width)[1:]
    y = torch.empty(rows, panels * kernels.width)
    kernels.convolve(x, y, kernels.panels(matrix), bias, Window(depth, 1, 0, depth), added)
    assert_close(y, x.double() @ matrix.double() + bias + added, 1e-7 * depth**0.5)


def test_a_dilated_and_strided_convolution(kernels):
    channels, stride, dilation = kernels.width, 2, 3
    x, weight = noise(100, channels), noise(channels, channels, 4)  # (out, in, taps)
    y, bias = torch.empty(46, channels), noise(channels)
    panels = kernels.panels(weight.permute(2, 1, 0).flatten(0, 1))
    kernels.convolve(x, y, panels, bias, Window(stride * channels, 4, dilation * channels, channels), None)
    expected = F.conv1d(x.T[None].double(), weight.double(), bias.double(), stride, dilation=dilation)[0].T
    assert_close(y, expected, 1e-6)


def unit_of(channels: int) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor], tuple[SnakeRows, SnakeRows]]:
    taps, last = noise(channels, channels, 7) / (7 * channels) ** 0.5, noise(channels, channels) / channels**0.5
    return taps, last, (noise(channels), noise(channels + 1)[1:]), (snake_rows(channels), snake_rows(channels))


def run_unit(kernels: NativeKernels, x: Tensor, left: int, dilation: int) -> tuple[Tensor, Tensor]:
    """Return a unit's rows, and those of its formula in float64."""
    channels = x.shape[1]
    taps, last, biases, snakes = unit_of(channels)
    y = torch.empty(len(x) - 6 * dilation, channels)
    spectra = kernels.panels(tap_spectra(taps).transpose(1, 2)).transpose(0, 1).contiguous()
    scratch = torch.empty(kernels.unit_scratch(channels, dilation))
    kernels.unit(x, y, left, dilation, snakes, spectra, kernels.panels(last.T.contiguous()), biases, scratch)
    wide = x.double()
    hidden = F.conv1d(snake(wide, snakes[0]).T[None], taps.double(), biases[0].double(), dilation=dilation)[0].T
    expected = wide[left : left + len(y)] + snake(hidden, snakes[1]) @ last.double().T + biases[1]
    return y, expected


@pytest.mark.parametrize("dilation", [1, 2, 3, 9, 50])
@pytest.mark.parametrize("rows", [1, 7, 361, 1000])
def test_a_residual_unit_by_spectra_is_the_one_by_taps(kernels, rows, dilation):
    y, expected = run_unit(kernels, noise(rows + 6 * dilation, 2 * kernels.width), 2 * dilation, dilation)
    assert_close(y, expected, 2e-6)


def test_a_residual_unit_in_bfloat16_is_as_good_as_its_factors(bfloat16_kernels):
    y, expected = run_unit(bfloat16_kernels, noise(1000, 64), 9, 3)
    assert_close(y, expected, 2e-2)  # factors have 8 bits
    assert float((y - expected).abs().max()) > 1e-4  # and no more


def test_threads_change_nothing(kernels):
    threads = torch.get_num_threads()
    x = noise(2000, kernels.width)
    try:
        outputs = []
        for count in (1, 2):
            torch.set_num_threads(count)
            outputs.append(run_unit(kernels, x, 3, 1)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*outputs)


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """Kernels asked for the first time, with a cache that is empty."""
    native_kernels.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
        patched.setattr(native, "OPTIONS", ("-O0", *native.OPTIONS[1:]))  # compiles sooner
        yield patched
    native_kernels.cache_clear()


@pytest.mark.parametrize("compiler", ["false", "/absent/cc"])
def test_there_are_no_kernels_without_a_compiler(anew, compiler):
    anew.setenv("CC", compiler)
    assert native_kernels(torch.float32) is None


@pytest.fixture
def library(anew, tmp_path) -> Path:
    """The stored library of the first kernels."""
    if native_kernels(torch.float32) is None:
        pytest.skip("nothing compiles the kernels here")
    (path,) = (tmp_path / "assets").rglob("*.so")
    return path


def assert_compiled_anew(caplog: pytest.LogCaptureFixture) -> None:
    native_kernels.cache_clear()
    caplog.clear()
    with caplog.at_level("INFO"):
        assert native_kernels(torch.float32) is not None
    assert "compiling" in caplog.text


@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_the_cache_is_private_and_used_again(anew, tmp_path, caplog, umask):
    before = os.umask(umask)
    try:
        kernels = native_kernels(torch.float32)
    finally:
        os.umask(before)
    if kernels is None:
        pytest.skip("nothing compiles the kernels here")
    (library,) = (tmp_path / "assets").rglob("*.so")
    assert stat.S_IMODE(library.parent.stat().st_mode) == 0o700
    native_kernels.cache_clear()
    with caplog.at_level("INFO"):
        assert native_kernels(torch.float32) is not None
    assert "compiling" not in caplog.text


@pytest.mark.parametrize("damage", [lambda content: b"no library", lambda content: content[:-1] + b"?"])
def test_a_changed_library_is_not_loaded_but_compiled_again(library, caplog, damage):
    original = library.read_bytes()
    library.unlink()  # this process has loaded it
    library.write_bytes(damage(original))
    assert_compiled_anew(caplog)
    (stored,) = library.parent.glob("*.so")
    assert hashlib.sha256(stored.read_bytes()).hexdigest() in stored.name


def test_a_link_in_place_of_a_library_is_not_followed(library, caplog, tmp_path):
    target = library.rename(tmp_path / "planted.so")
    library.symlink_to(target)
    assert_compiled_anew(caplog)
    assert not library.is_symlink()


def test_a_folder_that_others_can_write_is_not_used(library, caplog):
    library.parent.chmod(0o777)
    assert_compiled_anew(caplog)
    assert "can be written by others" in caplog.text and len(caplog.text.strip().splitlines()) == 2


def test_a_folder_that_is_a_link_is_not_used(library, caplog, tmp_path):
    library.parent.rename(tmp_path / "elsewhere")
    library.parent.symlink_to(tmp_path / "elsewhere")
    assert_compiled_anew(caplog)
    assert "for this process only" in caplog.text


def test_without_a_place_for_them_kernels_are_compiled_for_one_process(anew, caplog, tmp_path):
    (tmp_path / "file").write_text("")
    anew.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "file"))
    if native_kernels(torch.float32) is None:
        pytest.skip("nothing compiles the kernels here")
    assert "for this process only" in caplog.text
    assert (tmp_path / "file").read_text() == ""


def test_libraries_that_were_not_used_for_long_are_deleted(library):
    for age in range(40):
        old = library.with_name(f"old-{age}.so")
        old.write_bytes(b"")
        os.utime(old, (age, age))
    library.unlink()
    native_kernels.cache_clear()
    assert native_kernels(torch.float32) is not None
    names = {path.name for path in library.parent.glob("*.so")}
    assert names == {library.name, *(f"old-{age}.so" for age in range(41 - native.MAX_STORED, 40))}


def test_there_are_no_kernels_for_other_types():
    assert native_kernels(torch.float16) is None
