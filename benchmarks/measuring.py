"""Time and memory of functions beside each other, and tables of them."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

from torch import Tensor
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def median_seconds(runs: Sequence[Callable[[], Tensor]], repeats: int) -> list[float]:
    """Time functions in turns."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for function, measured in zip(runs, times, strict=True):
            start = time.perf_counter()
            function()
            measured.append(time.perf_counter() - start)
    return [statistics.median(measured) for measured in times]


def working_mib(function: Callable[[], Tensor]) -> float:
    """Return in MiB the most that tensors of one run hold at one time, beyond what it is given and what it returns.

    By the record that `torch.profiler` keeps of torch's allocator.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        y = function()
    events = sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    changes = (event.nbytes() for event in events if event.name() == "[memory]")
    return (max(itertools.accumulate(changes)) - y.nbytes) / MIB


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest value, infinite where the lengths differ."""
    if actual.shape != expected.shape:
        return float("inf")
    return float((actual - expected).abs().max() / expected.abs().max())


def print_table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """Print a Markdown table, numbers with three digits."""
    print("\n| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print("| " + " | ".join(v if isinstance(v, str) else f"{v:#.3g}".rstrip(".") for v in row) + " |")
