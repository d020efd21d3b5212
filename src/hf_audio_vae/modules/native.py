"""The kernels of `kernels.c`: compiled when first asked for, and kept with the assets of Hugging Face's cache."""

import ctypes
import functools
import hashlib
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import cached_assets_path
from torch import Tensor

SOURCE = Path(__file__).with_name("kernels.c")
OPTIONS = ("-O3", "-std=gnu11", "-shared", "-fPIC")
# What the compiler may know of the processor and of threads, most wanted first.
VARIANTS = (
    ("-march=native", "-fopenmp"),
    ("-march=native",),
    ("-mcpu=native",),  # clang on ARM
)


@dataclass(frozen=True)
class SnakeRows:
    """Snake's parameters, one a channel: x + sin²(frequency x) inverse_magnitude."""

    frequency: Tensor
    inverse_magnitude: Tensor


class NativeKernels:
    """Products, convolutions and residual units on rows, compiled for this processor.

    Args:
        library (`ctypes.CDLL`): The compiled `kernels.c`.
        dtype (`torch.dtype`): Of what is multiplied: `torch.float32` or `torch.bfloat16`. Sums are float32.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._library = library
        self._library.unit_scratch.restype = ctypes.c_long
        self.width = int(library.width())  # channels come in multiples of it

    def __reduce__(self) -> tuple[object, tuple[torch.dtype]]:
        return native_kernels, (self.dtype,)  # a copy, perhaps on another machine, finds its own library

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
        self, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor, shape: tuple[int, ...], added: Tensor | None
    ) -> None:
        """Write a convolution of factors to `y`, float32 (rows, columns).

        Args:
            x (`torch.Tensor`): Factors, from the first that the first row reads.
            y (`torch.Tensor`): Where the rows go.
            weight (`torch.Tensor`): `panels` of (taps, depth) and the columns.
            bias (`torch.Tensor`): (columns,)
            shape (`tuple[int, ...]`): Factors from one row's first to the next one's; taps; factors from one tap's
                first to the next one's; depth, the factors side by side that a tap reads.
            added (`torch.Tensor`, *optional*): Rows to add; (rows, columns).
        """
        self.call("convolve", x, *shape, weight, bias, added, y, *y.shape)

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
    ) -> None:
        """Write a residual unit of `x`, float32 (rows + 6 dilation, channels), to `y`, (rows, channels)."""
        rows, channels = y.shape
        floats = self._library.unit_scratch(ctypes.c_long(channels), ctypes.c_long(dilation))
        scratch = torch.empty(torch.get_num_threads() * floats)
        first, second = ((snake.frequency, snake.inverse_magnitude) for snake in snakes)
        self.call(
            "residual_unit", x, y, rows, channels, left, dilation,
            *first, spectra, biases[0], *second, weight, biases[1], scratch,
        )  # fmt: skip

    def call(self, name: str, *arguments: Tensor | int | None) -> None:
        """Call a kernel by its name in `kernels.c`, with tensors that are contiguous, and what they say is right."""
        converted: list[ctypes.c_long | ctypes.c_void_p] = []
        for value in arguments:
            if isinstance(value, int):
                converted.append(ctypes.c_long(value))
            else:
                converted.append(ctypes.c_void_p(None if value is None else value.data_ptr()))
        getattr(self._library, name)(*converted)


@functools.cache
def native_kernels(dtype: torch.dtype) -> NativeKernels | None:
    """Return the kernels for this processor; `None` where nothing compiles them, or it has no such products."""
    if dtype not in (torch.float32, torch.bfloat16):
        return None
    defines = ("-DBFLOAT16",) if dtype == torch.bfloat16 else ()
    for variant in VARIANTS:
        library = _compiled((*OPTIONS, *defines, *variant))
        if library is not None:
            return NativeKernels(library, dtype)
    return None


def _compiled(options: tuple[str, ...]) -> ctypes.CDLL | None:
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    source = SOURCE.read_bytes()
    processor = json.dumps(dict(torch.cpu.get_capabilities()), sort_keys=True)  # a home may be shared between machines
    key = hashlib.sha256(b"\0".join((source, processor.encode(), " ".join(options).encode()))).hexdigest()[:16]
    target = cached_assets_path("hf_audio_vae", namespace="kernels") / f"{key}.so"
    if not target.is_file():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            fresh = Path(folder) / target.name
            command = [*compiler, *options, str(SOURCE), "-o", str(fresh)]
            try:
                subprocess.run(command, capture_output=True, check=True)
            except (OSError, subprocess.CalledProcessError):
                return None
            fresh.replace(target)  # at once, so that no process loads half a file
    return ctypes.CDLL(str(target))
