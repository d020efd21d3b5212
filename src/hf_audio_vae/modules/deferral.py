"""Checks of tensor values on a GPU without stalling the GPU.

The result of a check such as "are all samples finite?" is on the device. If the host reads it at once, it waits before
it can queue more work. `deferring_checks` queues the model's work first and reads the results afterwards.
"""

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


Check = tuple[Callable[[], bool], Callable[[], Exception]]


class _Scope(threading.local):
    pending: list[Check] | None = None


_scope = _Scope()


def require(condition: Callable[[], Tensor], error: Callable[[], Exception]) -> None:
    """Raise `error()` unless `condition()`, a bool scalar, is true.

    On a CUDA device, inside a `deferring_checks` function, the result is read when that function ends.
    Compiled and captured graphs cannot branch on values, so they leave the check to the caller.
    """
    if torch.compiler.is_compiling():
        return
    holds = condition()
    if holds.is_meta:  # only shapes are computed
        return
    if holds.is_cuda and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return
    if holds.is_cuda and _scope.pending is not None:
        _scope.pending.append((read_later(holds), error))
    elif not bool(holds):
        raise error()


def deferring_checks(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function so that the results of its checks are read after its work has been queued."""

    @functools.wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if torch.compiler.is_compiling() or _scope.pending is not None:
            return function(*args, **kwargs)
        checks: list[Check] = []
        _scope.pending = checks
        try:
            result = function(*args, **kwargs)
        finally:
            _scope.pending = None
        for holds, error in checks:
            if not holds():
                raise error()
        return result

    return call


def read_later(value: Tensor) -> Callable[[], bool]:
    """Start copying a bool scalar from a CUDA device; the returned function waits for this copy only."""
    host = torch.empty((), dtype=torch.bool, pin_memory=True)
    host.copy_(value, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(value.device))

    def read() -> bool:
        copied.synchronize()
        return bool(host)

    return read


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device; the host does not wait for earlier work on a CUDA device."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
