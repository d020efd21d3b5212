"""What codebooks of several processes agree on: sums over all of them, and vectors drawn from the data of all."""

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_processes(tensor: Tensor) -> Tensor:
    """Add up a tensor over all processes, in place; the same result on each."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def draw_over_processes(x: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw rows of `x`, the first from process 0, the second from process 1, and so on around.

    Each process draws uniformly from its own rows, and repeats none before all are drawn.

    Args:
        x (`torch.Tensor` of shape `(n, dim)`): This process's rows; there may be none.
        count (`int`): Rows to draw in all, the same number on each process.
        seed (`int`): Decides which.

    Returns:
        The rows (count, dim), and bool (count,): whether a row is there, or its process had none to give.
    """
    several = dist.is_available() and dist.is_initialized()
    rank, world_size = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    drawn = x.new_zeros(count, x.shape[1] + 1)  # the last column marks what is there
    own = torch.arange(rank, count, world_size)
    if len(x) and len(own):
        generator = torch.Generator().manual_seed(seed)
        index = torch.randperm(len(x), generator=generator)[: len(own)]
        again = torch.randint(len(x), (len(own) - len(index),), generator=generator)
        index = torch.cat([index, again])
        drawn[own.to(x.device), :-1] = x[index.to(x.device)]
        drawn[own.to(x.device), -1] = 1
    sum_over_processes(drawn)
    return drawn[:, :-1], drawn[:, -1] > 0
