"""Residual code search compared with other libraries."""

import functools
import itertools
from collections.abc import Callable, Iterator

import torch
from gpu.setting import Part, Setting, Table
from quantizer_speed import CASES, Case, Runs, compare, plain_runs, projected_runs


def run(setting: Setting) -> Iterator[Part]:
    """Time all searches with equal codebooks."""
    cases = (Case(2, 16, 8, 64, 32),) if setting.dry_run else CASES
    for case, (form, make) in itertools.product(cases, (("plain", plain_runs), ("projected", projected_runs))):
        yield functools.partial(search, setting, case, form, make)


def search(setting: Setting, case: Case, form: str, make: Callable[[Case], Runs]) -> Table:
    """Time the searches of one case."""
    with torch.device(setting.device):
        medians, equal = compare(make(case), 3 if setting.dry_run else 20, setting.clock)
    ours = medians.pop("ours")
    rows: list[list[str | float]] = [[name, ours, t, t / ours, equal[name]] for name, t in medians.items()]
    return Table(f"Search of {case}, {form}", ["other", "ours, ms", "other, ms", "ratio", "equal codes"], rows)
