"""Nearest neighbours: one matrix product a block of vectors, and an argmin that reads the scores at full speed.

torch's `argmin` over a row takes longer than the product itself at few dimensions; `amin` is vectorised. So each row
is looked at as groups of codes: the minimum of each, the group that has the least, and the place in it.
"""

import torch
from torch import Tensor

GROUP = 64  # codes; measured: 32 and 128 are slower on the CPU
BLOCK = 1024  # vectors at a time on the CPU: their scores fit its cache
SCORES = 2**26  # at a time on other devices, 256 MiB


def nearest(x: Tensor, vectors: Tensor, *, cosine: bool = False) -> tuple[Tensor, Tensor]:
    """Find for each of `x` its nearest vector by Euclidean distance, or by angle.

    ``|x - v|²`` and ``|v|² / 2 - x · v`` have the same argmin, and of the second only the product depends on `x`; by
    angle, lengths count for nothing and `v` is normalised. Half precision is searched in float32. Of vectors whose
    scores are equal, the first one is taken.

    Args:
        x (`torch.Tensor` of shape `(n, dim)`): What to look for.
        vectors (`torch.Tensor` of shape `(size, dim)`): A codebook.
        cosine (`bool`): By angle.

    Returns:
        Indices, int64 (n,), and bool (n,): whether the scores are finite. Where not, `x` holds NaN or infinity, and
        the index means nothing.
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
        # A graph for every length has no loop whose rounds depend on it.
        blocks = (x,) if torch.compiler.is_exporting() else x.split(size)
        found = [_least(torch.addmm(half_squares, block, vectors.T, alpha=-1)) for block in blocks]
    indices, scores = zip(*found, strict=True)
    return torch.cat(indices), torch.cat(scores).isfinite()


def _least(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Place and value of each row's first minimum, (n, size) -> (n,) twice; NaN counts as least."""
    n, size = scores.shape
    if size % GROUP:
        values, indices = scores.min(dim=1)
        return indices, values
    groups = scores.view(n, size // GROUP, GROUP)
    least, group = groups.amin(dim=2).min(dim=1)
    within = groups[torch.arange(n, device=scores.device), group].argmin(dim=1)
    return group * GROUP + within, least
