"""Processes that are forked after a model has run, such as the workers of `multiprocessing`."""

import functools
import os

import torch


def survive_forks() -> None:
    """Let processes that are forked from now on compute in one thread.

    OpenMP's threads do not exist in a forked process. torch would wait for them for ever; its `DataLoader` limits its
    workers in the same way.
    """
    if not torch.compiler.is_compiling():
        _register()


@functools.cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))
