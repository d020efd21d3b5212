"""The kernels of `kernels.c`: compiled on first use and stored in the assets folder of Hugging Face's cache.

This requires a C compiler with OpenMP: `cc`, or the environment variable `CC`. `CC=false` disables the kernels.
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
THIS_PROCESSOR = ("-march=native", "-mcpu=native")  # for gcc and clang; for clang on ARM
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
    """Snake's parameters per channel: x + sin²(frequency x) magnitude."""

    frequency: Tensor
    inverse_magnitude: Tensor


class Window(NamedTuple):
    """The factors that the rows of a convolution read."""

    stride: int  # from the first factor of a row to that of the next row
    taps: int
    tap_stride: int  # from the first factor of a tap to that of the next tap
    depth: int  # contiguous factors that a tap reads


class NativeKernels:
    """Matrix products, convolutions, residual units and Snake, compiled for this processor; use torch's thread count.

    Args:
        library (`ctypes.CDLL`): The compiled `kernels.c`.
        dtype (`torch.dtype`): Type of the factors: `torch.float32` or `torch.bfloat16`. Sums are float32.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._library = library
        for name, letters in ARGUMENTS.items():
            getattr(library, name).argtypes = [TYPES[letter] for letter in letters]
        library.width.restype = library.unit_scratch.restype = ctypes.c_long
        self.width = int(library.width())  # the number of channels is a multiple of it

    def panels(self, matrix: Tensor) -> Tensor:
        """Pack a matrix (..., depth, columns) in panels of `width` columns; contiguous (..., panels, depth, width)."""
        *leading, depth, columns = matrix.shape
        panels = matrix.reshape(*leading, depth, columns // self.width, self.width).transpose(-2, -3)
        if self.dtype == torch.bfloat16:  # adjacent pairs of factors
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
            x (`torch.Tensor`): Factors, beginning with the first one that row 0 reads.
            y (`torch.Tensor`): Memory for the output rows.
            weight (`torch.Tensor`): `panels` of the matrix (taps * depth, columns).
            bias (`torch.Tensor`): (columns,)
            window (`Window`): The factors that the rows read.
            added (`torch.Tensor`, *optional*): Rows to add; (rows, columns).
        """
        self.call("convolve", x, *window, weight, bias, added, y, *y.shape)

    def unit_scratch(self, channels: int, dilation: int) -> int:
        """Return the number of floats of scratch memory that `unit` needs."""
        per_thread = self._library.unit_scratch(channels, dilation)
        return torch.get_num_threads() * int(per_thread)

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
        """Apply a residual unit to `x`, float32 (rows + 6 dilation, channels), and write `y`, (rows, channels)."""
        first, second = ((snake.frequency, snake.inverse_magnitude) for snake in snakes)
        taps, last = (*first, spectra, biases[0]), (*second, weight, biases[1])
        self.call("residual_unit", x, y, *y.shape, left, dilation, *taps, *last, scratch)

    def call(self, name: str, *arguments: Tensor | int | None) -> None:
        """Call a kernel by its name in `kernels.c`; the number of threads is appended as the last argument.

        Raises:
            ValueError: A tensor is not on the CPU or not contiguous. Sizes are not checked.
        """
        converted: list[int | None] = []
        for value in (*arguments, torch.get_num_threads()):
            if isinstance(value, Tensor):
                if value.device.type != "cpu" or not value.is_contiguous():
                    raise ValueError(
                        f"a kernel got {value.device}, strides {value.stride()}; pass a contiguous tensor on the CPU."
                    )
                converted.append(value.data_ptr())
            else:
                converted.append(value)
        getattr(self._library, name)(*converted)


@functools.cache
def native_kernels(dtype: torch.dtype) -> NativeKernels | None:
    """Return the kernels for this processor, or `None` without a compiler or without products of this dtype."""
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
    """Compile the library with these options, or load it from the cache.

    Raises:
        OSError: There is no compiler, or the library cannot be stored or loaded.
        subprocess.SubprocessError: The compiler fails or takes too long.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    version = subprocess.run(
        [*compiler, "--version"], capture_output=True, check=True, timeout=SECONDS_TO_COMPILE
    ).stdout
    # Machines may share a cache.
    processor = [f"{name}={value}" for name, value in sorted(torch.cpu.get_capabilities().items())]
    key_parts = SOURCE.read_bytes(), version, " ".join([*compiler, *options, *processor]).encode()
    key = hashlib.sha256(b"\0".join(key_parts)).hexdigest()[:16]
    folder = cached_assets_path("hf_audio_vae", namespace="kernels", assets_dir=constants.HF_ASSETS_CACHE)
    target = folder / f"{key}.so"
    if target.is_file() and target.stat().st_uid == os.getuid():
        try:
            return ctypes.CDLL(str(target))
        except OSError:  # incomplete, or linked to libraries that no longer exist
            target.unlink()
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        fresh = Path(temporary) / target.name
        logger.info("compiling %s with %s", SOURCE, compiler[0])
        command = [*compiler, *options, str(SOURCE), "-o", str(fresh)]
        subprocess.run(command, capture_output=True, check=True, timeout=SECONDS_TO_COMPILE)
        library = ctypes.CDLL(str(fresh))
        fresh.replace(target)  # atomic, so that no process loads an incomplete file
    return library
