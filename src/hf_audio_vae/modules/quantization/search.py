"""Nearest-neighbour search: one matrix product per block of vectors, and a fast argmin.

torch's `argmin` over a row takes longer than the product itself at few dimensions, while `amin` is vectorised. So each
row is split into groups of codes: minimum of each group, then the group with the smallest minimum, then the index in
that group.
"""

import torch
from torch import Tensor

GROUP = 64  # codes per group; 32 and 128 measured slower on the CPU
BLOCK = 1024  # vectors per block on the CPU: their scores fit its cache
SCORES = 2**26  # scores per block on other devices, 256 MiB


def nearest(x: Tensor, vectors: Tensor, *, cosine: bool = False) -> tuple[Tensor, Tensor]:
    """Find the nearest vector of each row of `x` by Euclidean distance, or by angle.

    ``|x - v|²`` and ``|v|² / 2 - x · v`` have the same argmin, and in the second only the product depends on `x`. By
    angle, lengths are ignored and `v` is normalised. Half precision is searched in float32. Ties select the first
    vector.

    Args:
        x (`torch.Tensor` of shape `(n, dim)`): Queries.
        vectors (`torch.Tensor` of shape `(size, dim)`): A codebook.
        cosine (`bool`): Search by angle.

    Returns:
        Indices, int64 (n,), and bool (n,): whether the scores are finite. If not, `x` has NaN or infinite values and
        the index is meaningless.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        x, vectors = x.to(dtype), vectors.to(dtype)
        if cosine:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
            half_squares = vectors.new_zeros(len(vectors))
        else:
            half_squares = vectors.square().sum(dim=1) / 2
        size = BLOCK if x.device.type == "cpu" else max(SCORES // len(vectors), 1)
        # An exported graph for any length cannot have a loop whose number of iterations depends on it.
        blocks = (x,) if torch.compiler.is_exporting() else x.split(size)
        minima = [_first_minimum(torch.addmm(half_squares, block, vectors.T, alpha=-1)) for block in blocks]
    indices, scores = zip(*minima, strict=True)
    return torch.cat(indices), torch.cat(scores).isfinite()


def _first_minimum(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Index and value of each row's first minimum, (n, size) -> (n,) twice; NaN counts as the minimum."""
    n, size = scores.shape
    if size % GROUP:
        values, indices = scores.min(dim=1)
        return indices, values
    groups = scores.view(n, size // GROUP, GROUP)
    minimum, group = groups.amin(dim=2).min(dim=1)
    within = groups[torch.arange(n, device=scores.device), group].argmin(dim=1)
    return group * GROUP + within, minimum
