"""Settings of a section, and the format of its results."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from measuring import MIB

Cell = str | float


class SkippedError(Exception):
    """A table cannot be made on this machine; the message has the reason."""


@dataclass(frozen=True)
class Table:
    """A Markdown table with title, header, rows of text and numbers, and names of wrong rows."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    wrong: Sequence[str] = ()


Part = Callable[[], Table]  # sections yield these functions, and each table is made separately


@dataclass
class Setting:
    """Device, sizes and time limit of the measurements.

    Args:
        device (`torch.device`): A CUDA device, or the CPU in a dry run.
        dry_run (`bool`): Use tiny sizes.
        output_dir (`Path`): Folder for results and trained models.
        deadline (`float`): Time at which the section has to end, by `time.monotonic`.
        peaks (`dict[str, float]`): Measured rates by name, in bytes or operations per second; see `roofline`.
    """

    device: torch.device
    dry_run: bool
    output_dir: Path
    deadline: float = float("inf")
    peaks: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Seconds until the section has to end."""
        return self.deadline - time.monotonic()

    def clock(self) -> float:
        """Return the time in seconds after all queued work is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def peak_mib(self, function: Callable[[], object]) -> Cell:
        """Return the peak of memory allocated by a run in MiB; "-" on a CPU."""
        if self.device.type != "cuda":
            return "-"
        torch.cuda.synchronize(self.device)
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        function()
        torch.cuda.synchronize(self.device)
        return (torch.cuda.max_memory_allocated(self.device) - before) / MIB


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 for float32 convolutions and products."""
    cudnn, before = torch.backends.cudnn, torch.get_float32_matmul_precision()
    convolutions = cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        cudnn.allow_tf32 = convolutions
