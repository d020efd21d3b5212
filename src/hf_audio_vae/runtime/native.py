"""The kernels of `kernels.c`: compiled when first asked for, and kept with the assets of Hugging Face's cache.

That takes a C compiler with OpenMP, found as `cc` or named by the environment's `CC`; with `CC=false` there are none.
"""

import ctypes
import functools
import hashlib
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import cached_assets_path, constants
from torch import Tensor

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("kernels.c")
OPTIONS = ("-O3", "-std=gnu11", "-fopenmp", "-shared", "-fPIC")
THIS_PROCESSOR = ("-march=native", "-mcpu=native")  # of gcc and clang; of clang on ARM
SECONDS_TO_COMPILE = 120
# Arguments of the functions in `kernels.c`, by name: pointers and longs.
ARGUMENTS = {
    "width": "",
    "unit_scratch": "ll",
    "snake_forward": "ppllppl",
    "snake_backward": "pppppllppl",
    "activate": "ppllppl",
    "convolve": "pllllpppplll",
    "residual_unit": "ppllllpppppppppl",
}
TYPES = {"p": ctypes.c_void_p, "l": ctypes.c_long}


@dataclass(frozen=True)
class SnakeRows:
    """Snake's parameters, one a channel: x + sin²(frequency x) magnitude."""

    frequency: Tensor
    inverse_magnitude: Tensor


class Window(NamedTuple):
    """What a convolution's rows read, counted in factors."""

    stride: int  # from a row's first to the next one's
    taps: int
    tap_stride: int  # from a tap's first to the next one's
    depth: int  # side by side, that a tap reads


class NativeKernels:
    """Products, convolutions, residual units and Snake, compiled for this processor, on torch's number of threads.

    Args:
        library (`ctypes.CDLL`): The compiled `kernels.c`.
        dtype (`torch.dtype`): Of what is multiplied: `torch.float32` or `torch.bfloat16`. Sums are float32.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._library = library
        for name, letters in ARGUMENTS.items():
            getattr(library, name).argtypes = [TYPES[letter] for letter in letters]
        library.width.restype = library.unit_scratch.restype = ctypes.c_long
        self.width = int(library.width())  # channels come in multiples of it

    def panels(self, matrix: Tensor) -> Tensor:
        """Order a matrix (..., depth, columns) as panels of `width` columns; (..., panels, depth, width), flat."""
        *others, depth, columns = matrix.shape
        panels = matrix.reshape(*others, depth, columns // self.width, self.width).transpose(-2, -3)
        if self.dtype == torch.bfloat16:  # pairs of factors side by side
            panels = panels.reshape(*panels.shape[:-2], depth // 2, 2, self.width).transpose(-1, -2)
        return panels.to(self.dtype).contiguous()

    def activate(self, x: Tensor, y: Tensor, snake: SnakeRows) -> None:
        """Write Snake of `x`, float32 (rows, channels), to `y`, factors of the same shape."""
        self.call("activate", x, y, *x.shape, snake.frequency, snake.inverse_magnitude)

    def convolve(
        self, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, window: Window, added: Tensor | None
    ) -> None:
        """Write a convolution of factors to `y`, float32 (rows, columns).

        Args:
            x (`torch.Tensor`): Factors, from the first that the first row reads.
            y (`torch.Tensor`): Where the rows go.
            weight (`torch.Tensor`): `panels` of the matrix (taps * depth, columns).
            bias (`torch.Tensor`): (columns,)
            window (`Window`): What the rows read.
            added (`torch.Tensor`, *optional*): Rows to add; (rows, columns).
        """
        self.call("convolve", x, *window, weight, bias, added, y, *y.shape)

    def unit_scratch(self, channels: int, dilation: int) -> int:
        """Return how many numbers `unit` needs to work with."""
        own = self._library.unit_scratch(channels, dilation)
        return torch.get_num_threads() * int(own)

    def unit(
        self,
        x: Tensor,
        y: Tensor,
        left: int,
        dilation: int,
        snakes: Sequence[SnakeRows],
        spectra: Tensor,
        weight: Tensor,
        biases: Sequence[Tensor],
        scratch: Tensor,
    ) -> None:
        """Write a residual unit of `x`, float32 (rows + 6 dilation, channels), to `y`, (rows, channels)."""
        first, second = ((snake.frequency, snake.inverse_magnitude) for snake in snakes)
        taps, last = (*first, spectra, biases[0]), (*second, weight, biases[1])
        self.call("residual_unit", x, y, *y.shape, left, dilation, *taps, *last, scratch)

    def call(self, name: str, *arguments: Tensor | int | None) -> None:
        """Call a kernel by its name in `kernels.c`, whose last argument is the number of threads.

        Raises:
            ValueError: A tensor is not in the CPU's memory, or not contiguous. Nothing looks at its size.
        """
        converted: list[int | None] = []
        for value in (*arguments, torch.get_num_threads()):
            if isinstance(value, Tensor):
                if value.device.type != "cpu" or not value.is_contiguous():
                    raise ValueError(
                        f"a kernel got {value.device}, strides {value.stride()}; move it and copy it first."
                    )
                converted.append(value.data_ptr())
            else:
                converted.append(value)
        getattr(self._library, name)(*converted)


@functools.cache
def native_kernels(dtype: torch.dtype) -> NativeKernels | None:
    """Return the kernels for this processor; `None` where nothing compiles them, or it has no such products."""
    if dtype not in (torch.float32, torch.bfloat16):
        return None
    defines = ("-DBFLOAT16",) if dtype == torch.bfloat16 else ()
    for processor in THIS_PROCESSOR:
        try:
            return NativeKernels(compiled((*OPTIONS, *defines, processor)), dtype)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            logger.info("no kernels with %s: %s", processor, getattr(error, "stderr", None) or error)
    return None


def compiled(options: tuple[str, ...]) -> ctypes.CDLL:
    """Return the library that the compiler makes with such options, made now or before.

    Raises:
        OSError: There is no compiler, or no place for the library, or it cannot be loaded.
        subprocess.SubprocessError: The compiler refuses, or takes too long.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    version = subprocess.run(
        [*compiler, "--version"], capture_output=True, check=True, timeout=SECONDS_TO_COMPILE
    ).stdout
    # A cache may be shared between machines.
    processor = [f"{name}={value}" for name, value in sorted(torch.cpu.get_capabilities().items())]
    parts = SOURCE.read_bytes(), version, " ".join([*compiler, *options, *processor]).encode()
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = cached_assets_path("hf_audio_vae", namespace="kernels", assets_dir=constants.HF_ASSETS_CACHE)
    target = folder / f"{key}.so"
    if target.is_file() and target.stat().st_uid == os.getuid():
        try:
            return ctypes.CDLL(str(target))
        except OSError:  # half written, or of libraries that are gone
            target.unlink()
    with tempfile.TemporaryDirectory(dir=folder) as own:
        fresh = Path(own) / target.name
        logger.info("compiling %s with %s", SOURCE, compiler[0])
        command = [*compiler, *options, str(SOURCE), "-o", str(fresh)]
        subprocess.run(command, capture_output=True, check=True, timeout=SECONDS_TO_COMPILE)
        library = ctypes.CDLL(str(fresh))
        fresh.replace(target)  # at once, so that no process loads half a file
    return library
