"""Distances between two sets of embeddings: Fréchet distance (FAD) and kernel distance (KAD)."""

import torch
from torch import Tensor, linalg

KERNEL_SCALE = 100.0  # factor of the squared MMD, of Chung et al.
BLOCK_ROWS = 1024  # rows of a kernel matrix that are computed at once
MEDIAN_ROWS = 2000  # maximum number of rows for the median distance
SUBSETS = 15  # sizes of the extrapolation, as in fadtk


class EmbeddingStatistics:
    """Streaming mean and covariance of embeddings, in float64 on the CPU (Chan et al., 1979).

    Example:
        >>> statistics = EmbeddingStatistics()
        >>> statistics.add(torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
        >>> statistics.count, statistics.mean.tolist(), statistics.covariance.tolist()
        (2, [1.0, 1.0], [[2.0, 2.0], [2.0, 2.0]])
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._scatter = torch.zeros(0, 0, dtype=torch.float64)  # sum of outer products of deviations

    @classmethod
    def of(cls, embeddings: Tensor) -> "EmbeddingStatistics":
        """Return the statistics of embeddings (frames, dim)."""
        statistics = cls()
        statistics.add(embeddings)
        return statistics

    def add(self, embeddings: Tensor) -> None:
        """Add embeddings.

        Args:
            embeddings (`torch.Tensor` of shape `(frames, dim)`): Any number of frames.

        Raises:
            ValueError: The rank is wrong, `dim` differs from earlier embeddings, or values are NaN or infinite.
                Nothing is added in that case.
        """
        values = checked(embeddings)
        if not len(values):
            return
        if self.count and values.shape[1] != len(self._mean):
            raise ValueError(
                f"the embeddings have {values.shape[1]} dimensions, earlier ones have {len(self._mean)}; use one "
                f"`EmbeddingStatistics` per embedding."
            )
        mean = values.mean(dim=0)
        deviations = values - mean
        total = self.count + len(values)
        if not self.count:
            self._mean, self._scatter = torch.zeros_like(mean), torch.zeros(2 * mean.shape, dtype=torch.float64)
        step = mean - self._mean
        self._scatter = (
            self._scatter + deviations.T @ deviations + torch.outer(step, step) * (self.count * len(values) / total)
        )
        self._mean = self._mean + step * (len(values) / total)
        self.count = total

    @property
    def dim(self) -> int:
        """Number of dimensions; 0 before the first embedding."""
        return len(self._mean)

    @property
    def mean(self) -> Tensor:
        """Mean, float64 (dim,)."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance, float64 (dim, dim).

        Raises:
            ValueError: There are fewer than two embeddings.
        """
        if self.count < 2:
            raise ValueError(f"{self.count} embeddings have no covariance; give more or longer clips.")
        return self._scatter / (self.count - 1)


def frechet_distance(estimate: EmbeddingStatistics, target: EmbeddingStatistics) -> float:
    """Fréchet distance of two sets of embeddings (FAD; Kilgour et al., 2019, arXiv:1812.08466).

    This is the squared distance of two Gaussians with the means and covariances of the sets:
    ``|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½)``. The trace of the root is the sum of the singular values of
    ``C1^½ C2^½``, which are real for every pair of covariances. Lower is better.

    The estimate is biased upwards by about ``c / n`` for n embeddings (Gui et al., 2024, arXiv:2311.01616). Compare
    values of equal n only, or use `extrapolated_frechet_distance` or `kernel_distance`.

    Args:
        estimate (`EmbeddingStatistics`): Statistics of generated or reconstructed sound.
        target (`EmbeddingStatistics`): Statistics of the reference.

    Returns:
        `float`: 0 or more, in squared units of the embedding.

    Raises:
        ValueError: The dimensions differ, or a set has no more embeddings than dimensions, so that its covariance is
            singular.
    """
    _check_same_dim(estimate.dim, target.dim)
    for name, statistics in (("estimate", estimate), ("target", target)):
        if statistics.count <= statistics.dim:
            raise ValueError(
                f"`{name}` has {statistics.count} embeddings of {statistics.dim} dimensions, too few for a "
                f"covariance; give more or longer clips, more than {statistics.dim} embeddings in all, or use "
                f"`kernel_distance`, which is unbiased for any number."
            )
    roots = [_root(statistics.covariance) for statistics in (estimate, target)]
    overlap = linalg.svdvals(roots[0] @ roots[1]).sum()
    traces = estimate.covariance.trace() + target.covariance.trace()
    distance = (estimate.mean - target.mean).square().sum() + traces - 2 * overlap
    return max(float(distance), 0.0)


def extrapolated_frechet_distance(
    estimate: Tensor, target: EmbeddingStatistics, generator: torch.Generator | None = None
) -> float:
    """Fréchet distance for an infinite number of estimates (FAD∞; Gui et al., 2024, arXiv:2311.01616).

    The distance is computed for random subsets of 15 sizes. A line over 1 / size is fitted and extrapolated to 0. The
    bias from the number of embeddings of the target remains. Lower is better.

    Args:
        estimate (`torch.Tensor` of shape `(frames, dim)`): Embeddings.
        target (`EmbeddingStatistics`): Statistics of the reference, from many more embeddings than `dim`.
        generator (`torch.Generator`, *optional*): Random source of the subsets.

    Returns:
        `float`: 0 or more.

    Raises:
        ValueError: As for `frechet_distance`, or there are fewer than ``2 * (dim + 1)`` estimates.
    """
    values = checked(estimate)
    count, smallest = len(values), max(values.shape[1] + 1, len(values) // 5)
    if count < 2 * smallest:
        raise ValueError(
            f"`estimate` has {count} embeddings of {values.shape[1]} dimensions; extrapolation needs at least "
            f"{2 * smallest}, give more or longer clips."
        )
    sizes = torch.linspace(smallest, count, SUBSETS).round().long()
    distances = [
        frechet_distance(EmbeddingStatistics.of(values[torch.randperm(count, generator=generator)[:size]]), target)
        for size in sizes.tolist()
    ]
    line = torch.stack((torch.ones(SUBSETS, dtype=torch.float64), 1 / sizes.double()), dim=1)
    solution = linalg.lstsq(line, torch.tensor(distances, dtype=torch.float64)[:, None]).solution
    return max(float(solution[0, 0]), 0.0)


def kernel_distance(
    estimate: Tensor, target: Tensor, *, paired: bool = False, bandwidth: float | None = None
) -> float:
    """Kernel audio distance (KAD; Chung et al., 2025, arXiv:2502.15602): 100 times the squared MMD, at least 0.

    The kernel is ``exp(-|x - y|² / (2 b²))``, and the bandwidth b is the median distance within the target. (kadtk
    computes it within the other set, from random pairs.) `squared_mmd` is unbiased and can be negative; this function
    then returns 0. Lower is better.

    Args:
        estimate (`torch.Tensor` of shape `(frames, dim)`): Embeddings of generated or reconstructed sound.
        target (`torch.Tensor` of shape `(frames, dim)`): Embeddings of the reference.
        paired (`bool`): See `squared_mmd`; True for reconstructions and their originals.
        bandwidth (`float`, *optional*): Bandwidth of the kernel, for comparable distances from several targets.

    Returns:
        `float`: 0 or more.

    Raises:
        ValueError: As for `squared_mmd` and `median_distance`.

    Example:
        >>> target = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
        >>> kernel_distance(target, target, paired=True), kernel_distance(target + 1, target, paired=True) > 10
        (0.0, True)
    """
    bandwidth = median_distance(target) if bandwidth is None else bandwidth
    return max(KERNEL_SCALE * squared_mmd(estimate, target, bandwidth, paired=paired), 0.0)


def squared_mmd(estimate: Tensor, target: Tensor, bandwidth: float, *, paired: bool = False) -> float:
    """Unbiased estimate of the squared maximum mean discrepancy (Gretton et al., 2012, JMLR 13, eq. 3 and 4).

    This is the sum of the mean kernels within the two sets, minus twice the mean kernel between the sets. The kernel
    of an embedding with itself is left out. The expected value for equal distributions is 0, so the estimate can be
    negative.

    Args:
        estimate (`torch.Tensor` of shape `(m, dim)`): Embeddings.
        target (`torch.Tensor` of shape `(n, dim)`): Embeddings.
        bandwidth (`float`): Standard deviation of the Gaussian kernel.
        paired (`bool`): Whether embedding i of the estimate belongs to embedding i of the target, as for
            reconstructions. The kernel between the sets then leaves these pairs out (eq. 4), since similar pairs would
            bias the estimate by up to ``-2 / n``.

    Raises:
        ValueError: Wrong rank, different `dim`, fewer than 2 embeddings, NaN or infinite values, a bandwidth that is
            not positive, or `paired` sets of different lengths.
    """
    x, y = checked(estimate), checked(target)
    _check_same_dim(x.shape[1], y.shape[1])
    if min(len(x), len(y)) < 2:
        raise ValueError(f"there are {len(x)} and {len(y)} embeddings; give at least 2 of each, or longer clips.")
    if not bandwidth > 0:
        raise ValueError(f"`bandwidth` is {bandwidth}; give a positive distance.")
    if paired and len(x) != len(y):
        raise ValueError(f"{len(x)} and {len(y)} embeddings are no pairs; leave `paired` out.")
    centre = y.mean(dim=0)  # distances of values far from 0 would lose precision
    x, y = x - centre, y - centre
    within = sum(_kernel_sum(z, z, bandwidth, diagonal=False) / (len(z) * (len(z) - 1)) for z in (x, y))
    pairs = len(x) * (len(x) - 1) if paired else len(x) * len(y)
    return within - 2 * _kernel_sum(x, y, bandwidth, diagonal=not paired) / pairs


def median_distance(embeddings: Tensor) -> float:
    """Median Euclidean distance of all pairs of embeddings. Of more than 2000, 2000 evenly spaced ones are used.

    Args:
        embeddings (`torch.Tensor` of shape `(frames, dim)`): At least 2 embeddings.

    Raises:
        ValueError: There are fewer than 2 embeddings, or most of them are equal, so that the median is 0.
    """
    values = checked(embeddings)
    if len(values) < 2:
        raise ValueError(f"there is no distance within {len(values)} embeddings; give more or longer clips.")
    if len(values) > MEDIAN_ROWS:
        values = values[torch.linspace(0, len(values) - 1, MEDIAN_ROWS).round().long()]
    median = float(torch.nn.functional.pdist(values).median())
    if not median:
        raise ValueError("the median distance is 0, most embeddings are equal; leave silent clips out.")
    return median


def checked(embeddings: Tensor) -> Tensor:
    """Return embeddings (frames, dim) in float64 on the CPU; `ValueError` for another rank, NaN or infinity."""
    if embeddings.ndim != 2:
        raise ValueError(f"the embeddings have shape {tuple(embeddings.shape)}; give (frames, dim).")
    values = embeddings.detach().cpu().double()  # `cpu` first: not every device has float64
    if not bool(values.isfinite().all()):
        raise ValueError("the embeddings have NaN or infinite values; leave such clips out.")
    return values


def _check_same_dim(estimate: int, target: int) -> None:
    if estimate != target:
        raise ValueError(f"the embeddings have {estimate} and {target} dimensions; use the same embedding for both.")


def _root(covariance: Tensor) -> Tensor:
    """Symmetric root of a positive semidefinite matrix; eigenvalues below 0 are rounding errors."""
    eigenvalues, vectors = linalg.eigh(covariance)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T


def _kernel_sum(x: Tensor, y: Tensor, bandwidth: float, *, diagonal: bool) -> float:
    """Sum of the kernel over all pairs, in blocks of rows; pairs (i, i) only with `diagonal`."""
    total, norms = 0.0, y.square().sum(dim=1)
    for start in range(0, len(x), BLOCK_ROWS):
        rows = x[start : start + BLOCK_ROWS]
        squares = (rows.square().sum(dim=1)[:, None] + norms - 2 * rows @ y.T).clamp(min=0)
        kernel = torch.exp(-squares / (2 * bandwidth**2))  # (rows, n)
        total += float(kernel.sum())
        if not diagonal:
            total -= float(kernel.diagonal(offset=start).sum())
    return total
