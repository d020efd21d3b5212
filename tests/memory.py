"""Bytes that live tensors hold, counted at every operation; unlike a process's memory the number is exact."""

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class PeakBytes(TorchDispatchMode):
    """Counts the most bytes that tensors made inside the context held at one time, views (of `x` too) only once."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0
        self._users = {x.untyped_storage().data_ptr(): 1}  # tensors on a storage, by its address

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._hold(tensor)
        return result

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address not in self._users:
            self._users[address] = 0
            self._now += size
            self.peak = max(self.peak, self._now)
        self._users[address] += 1
        weakref.finalize(tensor, self._release, address, size)

    def _release(self, address: int, size: int) -> None:
        self._users[address] -= 1
        if not self._users[address]:
            del self._users[address]
            self._now -= size


def working_bytes(function, x: Tensor) -> int:
    """Return the most bytes that ``function(x)``, without gradients, holds beyond its input and its outputs."""
    with torch.no_grad(), PeakBytes(x) as count:
        outputs = tree_leaves(function(x))
    kept = {output.untyped_storage().data_ptr(): output.untyped_storage().nbytes() for output in outputs}
    kept.pop(x.untyped_storage().data_ptr(), None)
    return count.peak - sum(kept.values())


def saved_bytes(forward: Callable[[], object], parameters: Iterable[Tensor]) -> int:
    """Return the bytes of all that a forward pass keeps for its backward pass, storages once, parameters left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    storages: dict[int, torch.UntypedStorage] = {}  # alive, lest an address be used twice

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward()
    return sum(storage.nbytes() for storage in storages.values())
