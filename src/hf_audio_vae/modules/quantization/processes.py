"""Sums over all processes and vectors drawn from the data of all processes, to keep codebooks identical."""

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes in place; the result is the same on each."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def draw_over_processes(x: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw rows of `x` from the processes in turn: the first from process 0, the second from process 1, and so on.

    Each process draws uniformly from its own rows and repeats a row only after all have been drawn.

    Args:
        x (`torch.Tensor` of shape `(n, dim)`): Rows of this process; `n` may be 0.
        count (`int`): Total number of rows to draw, equal on all processes.
        seed (`int`): Seed of the draw.

    Returns:
        The rows (count, dim), and bool (count,): False where the process had no rows to draw from.
    """
    is_distributed = dist.is_available() and dist.is_initialized()
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if is_distributed else (0, 1)
    drawn = x.new_zeros(count, x.shape[1] + 1)  # the last column marks drawn rows
    own = torch.arange(rank, count, world_size)
    if len(x) and len(own):
        generator = torch.Generator().manual_seed(seed)
        index = torch.randperm(len(x), generator=generator)[: len(own)]
        repeated = torch.randint(len(x), (len(own) - len(index),), generator=generator)
        index = torch.cat([index, repeated])
        drawn[own.to(x.device), :-1] = x[index.to(x.device)]
        drawn[own.to(x.device), -1] = 1
    sum_over_processes(drawn)
    return drawn[:, :-1], drawn[:, -1] > 0
