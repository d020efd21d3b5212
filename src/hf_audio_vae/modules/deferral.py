"""Checks of values on a GPU that do not make the GPU wait for the host.

The answer to "are all samples finite?" lies on the device. A host that asks at once waits for it before it can queue
any work. `deferring_checks` queues a model's work first and reads the answers after that.
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

    On a CUDA device, within a function that is `deferring_checks`, the answer is read when that function ends.
    Compiled and captured graphs cannot branch on values: they leave the check to their caller.
    """
    if torch.compiler.is_compiling():
        return
    holds = condition()
    if holds.is_cuda and torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
        return
    if holds.is_cuda and _scope.pending is not None:
        _scope.pending.append((read_later(holds), error))
    elif not bool(holds):
        raise error()


def deferring_checks(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function so that the checks in it are read when its work has been queued."""

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
    """Begin to copy a bool scalar from a CUDA device; the function that is returned waits for this copy alone."""
    host = torch.empty((), dtype=torch.bool, pin_memory=True)
    host.copy_(value, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(value.device))

    def read() -> bool:
        copied.synchronize()
        return bool(host)

    return read


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device; the host does not wait for work that a CUDA device has before it."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
