"""The kernels in C: compiled on first use and stored in the assets folder of Hugging Face's cache.

This requires a C compiler with OpenMP: `cc`, or the environment variable `CC`. `CC=false` disables the kernels.

Only the user can write the cache. A library is named by the hash of its source, compiler and options and by the hash
of its own content. Both are checked before it is loaded.
"""

import ctypes
import functools
import hashlib
import logging
import os
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import cached_assets_path, constants
from torch import Tensor

logger = logging.getLogger(__name__)

SOURCES = [Path(__file__).with_name(name) for name in ("vectors.h", "kernels.c", "wavenet.c")]
OPTIONS = ("-O3", "-std=gnu11", "-fopenmp", "-shared", "-fPIC")
THIS_PROCESSOR = ("-march=native", "-mcpu=native")  # for gcc and clang; for clang on ARM
SECONDS_TO_COMPILE = 120
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
MAX_STORED = 16  # libraries in the cache: one for each type, compiler and processor
# Arguments of the functions in C, by name: pointers and longs.
ARGUMENTS = {
    "width": "",
    "unit_scratch": "ll",
    "snake_forward": "ppllppl",
    "snake_backward": "pppppllppl",
    "activate": "ppllppl",
    "convolve": "pllllpppplll",
    "residual_unit": "ppllllpppppppppl",
    "wavenet_frame": "ppppppppppppl",
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
        library (`ctypes.CDLL`): The compiled sources.
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
        """Call a kernel by its name in C; the number of threads is appended as the last argument.

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
    """Compile the library with these options, or load it from the cache; without a private cache, compile it anew.

    Raises:
        OSError: There is no compiler, or the library cannot be loaded.
        subprocess.SubprocessError: The compiler fails or takes too long.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    version = subprocess.run(
        [*compiler, "--version"], capture_output=True, check=True, timeout=SECONDS_TO_COMPILE
    ).stdout
    # Machines may share a cache.
    processor = [f"{name}={value}" for name, value in sorted(torch.cpu.get_capabilities().items())]
    key_parts = (
        *(source.read_bytes() for source in SOURCES),
        version,
        " ".join([*compiler, *options, *processor]).encode(),
    )
    key = _digest(b"\0".join(key_parts))[:32]
    binary: bytes | None = None
    try:
        with private_folder() as folder:
            if (library := _load(folder, key)) is None:
                binary = _compile([*compiler, *options])
                _store(folder, key, binary)
                library = _load(folder, key)
            if library is not None:
                return library
    except (OSError, ValueError) as error:
        logger.warning("%s; the kernels are compiled for this process only.", error)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        path = Path(temporary) / f"{key}.so"
        path.write_bytes(binary or _compile([*compiler, *options]))
        return ctypes.CDLL(str(path))


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield the cache folder, which only this user can read and write.

    On Linux, the path goes through the opened folder. It stays valid if another user replaces a parent folder.

    Raises:
        OSError: The folder cannot be opened, is a symbolic link, or belongs to or can be written by others.
        ValueError: A file is in its place.
    """
    if not hasattr(os, "getuid"):
        raise OSError("this system has no owners of files")
    shared = cached_assets_path("hf_audio_vae", "kernels", assets_dir=constants.HF_ASSETS_CACHE)
    path = shared / str(os.getuid())
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid() or status.st_mode & WRITABLE_BY_OTHERS:
            raise PermissionError(f"{path} belongs to or can be written by others; delete it or set HF_ASSETS_CACHE")
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.fchmod(descriptor, 0o700)
        opened = Path(f"/proc/self/fd/{descriptor}")
        yield opened if opened.is_dir() else path
    finally:
        os.close(descriptor)


def _load(folder: Path, key: str) -> ctypes.CDLL | None:
    """Load a stored library if it is unchanged; delete it otherwise. Its name holds the hash of its content."""
    for path in folder.glob(f"{key}-*.so"):
        status = path.lstat()
        is_own = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
        if is_own and path.stem == f"{key}-{_digest(path.read_bytes())}":
            with suppress(OSError):  # the folder cannot be written
                os.utime(path)
            with suppress(OSError):  # the library is linked to others that no longer exist
                return ctypes.CDLL(str(path))
        path.unlink()
    return None


def _store(folder: Path, key: str, binary: bytes) -> None:
    """Store a library, and delete those that have not been used for the longest time."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        path = Path(temporary) / "kernels.so"
        path.write_bytes(binary)
        path.replace(folder / f"{key}-{_digest(binary)}.so")  # atomic, so that no process loads an incomplete file
    newest_first = sorted(folder.glob("*.so"), key=lambda path: path.lstat().st_mtime, reverse=True)
    for path in newest_first[MAX_STORED:]:
        path.unlink()


def _compile(command: list[str]) -> bytes:
    """Compile the source and return the library."""
    logger.info("compiling %s with %s", SOURCES[1].parent, command[0])
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "kernels.so"
        subprocess.run(
            [*command, *map(str, SOURCES[1:]), "-lm", "-o", str(path)],
            capture_output=True,
            check=True,
            timeout=SECONDS_TO_COMPILE,
        )
        return path.read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
