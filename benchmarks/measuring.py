"""Time and memory of functions, and tables."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def median_seconds(
    runs: Sequence[Callable[[], Tensor]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Time functions in alternation. On one thread, `time.process_time` excludes other processes."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for function, measured in zip(runs, times, strict=True):
            start = clock()
            function()
            measured.append(clock() - start)
    return [statistics.median(measured) for measured in times]


def working_mib(function: Callable[[], Tensor]) -> float:
    """Return the peak of tensor memory in a run in MiB, beyond its input and output.

    `torch.profiler` records the allocations.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        y = function()
    events = sorted(record.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    changes = (event.nbytes() for event in events if event.name() == "[memory]")
    return (max(itertools.accumulate(changes)) - y.nbytes) / MIB


def saved_mib(forward: Callable[[], object], parameters: Iterable[Tensor]) -> float:
    """Return the memory that a forward pass saves for the backward pass in MiB, without parameters."""
    parameter_addresses = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    storages: dict[int, torch.UntypedStorage] = {}  # keeps storages alive, so that no address is reused

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameter_addresses:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in storages.values()) / MIB


def relative_difference(actual: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the largest value; infinity if the shapes differ."""
    if actual.shape != expected.shape:
        return float("inf")
    return float((actual - expected).abs().max() / expected.abs().max())


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Return a Markdown table with three significant digits."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        lines.append("| " + " | ".join(v if isinstance(v, str) else f"{v:#.3g}".rstrip(".") for v in row) + " |")
    return "\n".join(lines)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """Print a Markdown table after an empty line."""
    print("\n" + markdown_table(header, rows))
