"""Confidence intervals of means, and of mean differences between systems on the same items."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from torch import Tensor

RESAMPLES = 2000
SEED = 0
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all values of the interval have the same sign."""
        return self.low > 0 or self.high < 0


def bootstrap_interval(values: Sequence[float] | Tensor) -> Interval:
    """Return the mean of values and its percentile bootstrap interval of 95 % (Efron & Tibshirani, 1993, ch. 13).

    Items are drawn with replacement, with a fixed seed. The interval of a single item has width 0 and no meaning.

    Args:
        values (`Sequence[float]` or `torch.Tensor` of shape `(items,)`): One value per item, 1 or more.

    Raises:
        ValueError: There are no values, or one is NaN or infinite.

    Example:
        >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0])
        >>> interval.mean, 1.0 < interval.low < 2.0, 3.0 < interval.high < 4.0
        (2.5, True, True)
    """
    values = torch.as_tensor(values, dtype=torch.float64)
    if not len(values) or not bool(values.isfinite().all()):
        raise ValueError(f"`values` are {values.tolist()}; give one or more finite numbers.")
    generator = torch.Generator().manual_seed(SEED)
    means = torch.cat(  # in blocks, so that thousands of items fit in memory
        [
            values[torch.randint(len(values), (20, len(values)), generator=generator)].mean(dim=1)
            for _ in range(RESAMPLES // 20)
        ]
    )
    low, high = means.quantile(torch.tensor([0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2], dtype=torch.float64))
    return Interval(float(values.mean()), float(low), float(high))


def student_interval(values: Sequence[float] | Tensor) -> Interval:
    """Return the mean of values and its interval of 95 % by Student's t, for a few values such as one per seed.

    The values are assumed to be independent and normal. A bootstrap of three values would be far too narrow.

    Args:
        values (`Sequence[float]` or `torch.Tensor` of shape `(count,)`): 2 or more.

    Raises:
        ValueError: There are fewer than 2 values, or one is NaN or infinite.

    Example:
        >>> interval = student_interval([1.0, 2.0, 3.0])
        >>> interval.mean, round(interval.low, 3), round(interval.high, 3)
        (2.0, -0.484, 4.484)
    """
    values = torch.as_tensor(values, dtype=torch.float64)
    if len(values) < 2 or not bool(values.isfinite().all()):
        raise ValueError(f"`values` are {values.tolist()}; give two or more finite numbers.")
    mean, half = float(values.mean()), student_quantile(len(values) - 1) * float(values.std()) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def student_quantile(degrees: int) -> float:
    """Return the t that Student's distribution exceeds in magnitude with probability 5 %, for degrees of freedom."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_mass(middle, degrees) < CONFIDENCE else (low, middle)
    return high


def _student_mass(t: float, degrees: int) -> float:
    """Probability of [-t, t]; Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (k - 1) / k
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def paired_differences(values: Mapping[str, Sequence[float | None]]) -> dict[tuple[str, str], Interval]:
    """Return the interval of the mean difference of each pair of systems, the first minus the second.

    Args:
        values (`Mapping`): Values of each system in the same order of items, `None` for an item without a value. A
            pair leaves out the items for which one of the two has no value.
    """
    differences = {}
    for first, second in combinations(values, 2):
        pairs = zip(values[first], values[second], strict=True)
        found = [a - b for a, b in pairs if a is not None and b is not None]
        if found:
            differences[first, second] = bootstrap_interval(found)
    return differences


def ranking(names: Sequence[str], differences: Mapping[tuple[str, str], Interval], *, higher_is_better: bool) -> str:
    """Return one sentence on the differences that hold. A difference holds if its interval excludes 0.

    Neighbours are joined by `>` if their difference holds, else by `≈`. Pairs that contradict this chain are listed
    after it.

    Args:
        names (`Sequence[str]`): Systems, from the best mean to the worst.
        differences (`Mapping`): From `paired_differences`.
        higher_is_better (`bool`): Direction of the metric.

    Example:
        >>> ranking(["A", "B"], {("A", "B"): Interval(-0.5, -0.7, -0.3)}, higher_is_better=False)
        'A > B'
    """

    def holds(first: str, second: str) -> bool:
        return _is_better(first, second, differences, higher_is_better)

    steps = [holds(*pair) for pair in pairwise(names)]
    chain = names[0] + "".join(f" {'>' if step else '≈'} {name}" for step, name in zip(steps, names[1:], strict=True))
    exceptions = [
        f"{names[first]} {'>' if found else '≈'} {names[second]}"
        for first, second in combinations(range(len(names)), 2)
        if (found := holds(names[first], names[second])) != any(steps[first:second])
    ]
    return chain + (f"; but {', '.join(exceptions)}" if exceptions else "")


def _is_better(name: str, other: str, differences: Mapping[tuple[str, str], Interval], higher_is_better: bool) -> bool:
    found = differences.get((name, other))
    sign = 1.0 if found else -1.0
    found = found or differences.get((other, name))
    return found is not None and found.excludes_zero and (sign * found.mean > 0) == higher_is_better
