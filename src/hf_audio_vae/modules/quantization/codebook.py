from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hf_audio_vae.modules.deferral import read_later
from hf_audio_vae.modules.quantization.processes import draw_over_processes, sum_over_processes
from hf_audio_vae.modules.quantization.search import nearest

KMEANS_ITERATIONS = 10


class Codebook(nn.Module):
    """Vectors of the codes, with nearest-neighbour search and learning.

    With `"gradient"` learning, the vectors are parameters trained by a loss. With `"ema"`, they are running means of
    the inputs assigned to them (van den Oord et al., 2017, appendix A.1): ``N ← γ N + (1 - γ) n``,
    ``m ← γ m + (1 - γ) Σ x``, ``e = m / N``; a code that was never assigned keeps its vector.

    In training, k-means on the first batch initialises the vectors, and every batch may restart dead codes. A code is
    dead if its running count `N` is below `restart_share` of the average over all codes. It is replaced by a vector
    drawn from the batch, with the average as its count. All statistics cover the batches of all processes, so their
    codebooks stay identical. The processes draw in turn, each uniformly from its own batch, with generators seeded by
    the number of updates, so a resumed run continues identically.

    A batch is one forward pass in training mode, whether or not its loss is used: with gradient accumulation there are
    several per step.

    Args:
        size (`int`): Number of codes.
        dim (`int`): Dimensions of a vector.
        cosine (`bool`): Search by the smallest angle (Yu et al., 2021, arXiv:2110.04627) instead of the smallest
            distance.
        learning (`"gradient"` or `"ema"`): How the vectors learn.
        decay (`float`): γ, of the counts and, for `"ema"`, of the means.
        restart_share (`float`, *optional*): Share of the average count below which a code is dead; `None` restarts
            none.
        kmeans_start (`bool`): Initialise from the first training batch.

    Raises:
        ValueError: An argument is out of range.
    """

    vectors: Tensor
    counts: Tensor
    sums: Tensor
    updates: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        cosine: bool = False,
        learning: Literal["gradient", "ema"] = "ema",
        decay: float = 0.99,
        restart_share: float | None = 0.05,
        kmeans_start: bool = True,
    ) -> None:
        super().__init__()
        if size < 1 or dim < 1:
            raise ValueError(f"a codebook has {size} codes of {dim} dimensions; it needs at least 1 of both.")
        if learning not in ("gradient", "ema"):
            raise ValueError(f"`learning` is {learning!r}; a codebook learns by 'gradient' or by 'ema'.")
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` is {decay}; it is the share of a running average that is kept, in [0, 1).")
        if restart_share is not None and not 0 < restart_share < 1:
            raise ValueError(f"`restart_share` is {restart_share}; give a share in (0, 1), or None for no restarts.")
        self.size, self.dim = size, dim
        self.cosine, self.learning, self.decay = cosine, learning, decay
        self.restart_share, self.kmeans_start = restart_share, kmeans_start
        vectors = torch.randn(size, dim)
        if learning == "gradient":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
            self.register_buffer("sums", vectors.clone())
        self.register_buffer("counts", torch.ones(size))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self._started = False
        self._any_dead: Callable[[], bool] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_any_dead": None}  # bound to a device

    @property
    def started(self) -> bool:
        """Whether the vectors are initialised; once true, the device is not queried again."""
        self._started = self._started or bool(self.updates > 0)
        return self._started

    def extra_repr(self) -> str:
        return f"{self.size}, {self.dim}, cosine={self.cosine}, learning={self.learning!r}"

    def search(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the nearest code of each row of `x` (n, dim), int64 (n,), and whether it is finite, bool (n,)."""
        return nearest(x, self.vectors, cosine=self.cosine)

    def forward(self, codes: Tensor) -> Tensor:
        """Return the vectors of codes, int64 (...) -> (..., dim)."""
        if codes.is_cuda:  # a code out of range would abort the process before its check is read
            codes = codes.clamp(0, self.size - 1)
        return F.embedding(codes, self.vectors)

    @torch.no_grad()
    def start(self, x: Tensor) -> None:
        """Initialise by k-means on the first data (n, dim); without k-means the random vectors are kept."""
        if self.started:
            return
        x = x[x.isfinite().all(dim=1)].to(self.vectors.dtype)
        total = sum_over_processes(torch.tensor(float(len(x)), device=x.device))
        if total == 0:
            return  # all frames are padding; the next batch may have others
        self.counts.fill_(total.item() / self.size)
        if self.kmeans_start:
            rows, is_drawn = draw_over_processes(x, self.size, seed=0)
            self.vectors.copy_(torch.where(is_drawn[:, None], rows, self.vectors))
            all_valid = torch.ones_like(x[:, 0], dtype=torch.bool)
            for _ in range(KMEANS_ITERATIONS):
                counts, sums = self._totals(x, self.search(x)[0], all_valid)
                self.vectors.copy_(_means(sums, counts, self.vectors))
            self.counts.copy_(counts)
        if self.learning == "ema":
            self.sums.copy_(self.vectors * self.counts[:, None])
        self.updates.fill_(1)

    @torch.no_grad()
    def learn(self, x: Tensor, codes: Tensor, valid: Tensor) -> None:
        """Update from a batch of inputs (n, dim) with codes (n,); `valid`, bool (n,), selects the inputs to use."""
        x = x.to(self.vectors.dtype)
        counts, sums = self._totals(x, codes, valid)
        self.counts.lerp_(counts, 1 - self.decay)
        if self.learning == "ema":
            self.sums.lerp_(sums, 1 - self.decay)
            self.vectors.copy_(_means(self.sums, self.counts, self.vectors))
        if self.restart_share is not None:
            self._restart(x, valid, self.restart_share)
        self.updates.add_(1)

    def _totals(self, x: Tensor, codes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Number of inputs assigned to each code (size,), and their sum (size, dim)."""
        summands = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        summands = torch.where(valid[:, None], summands, 0.0)
        totals = x.new_zeros(self.size, self.dim + 1).index_add_(0, codes, summands)
        sum_over_processes(totals)
        return totals[:, -1], totals[:, :-1]

    def _restart(self, x: Tensor, valid: Tensor, share: float) -> None:
        average = self.counts.mean()
        is_dead = self.counts < share * average
        if not self._found_dead(is_dead):
            return
        dead = is_dead.nonzero()[:, 0]
        if not len(dead):
            return
        rows, is_drawn = draw_over_processes(x[valid], len(dead), seed=int(self.updates))
        dead, rows = dead[is_drawn], rows[is_drawn]
        self.vectors[dead] = rows
        self.counts[dead] = average
        if self.learning == "ema":
            self.sums[dead] = rows * average

    def _found_dead(self, is_dead: Tensor) -> bool:
        """Whether some codes may be dead; on a CUDA device, as of the previous batch, so that the host never waits."""
        if not is_dead.is_cuda:
            return True
        any_dead, self._any_dead = self._any_dead, read_later(is_dead.any())
        return any_dead is None or any_dead()


def _means(sums: Tensor, counts: Tensor, fallback: Tensor) -> Tensor:
    """Sums divided by counts, (size, dim); `fallback` where a count is (almost) zero."""
    enough = counts > torch.finfo(counts.dtype).tiny * 1e6
    return torch.where(enough[:, None], sums / counts.clamp_min(torch.finfo(counts.dtype).tiny)[:, None], fallback)
