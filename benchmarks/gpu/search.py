"""Finding residual codes, beside other libraries."""

import torch
from gpu.setting import Setting, Table
from quantizer_speed import CASES, Case, compare, plain_runs, projected_runs


def run(setting: Setting) -> list[Table]:
    """Time all searches with equal codebooks."""
    cases = (Case(2, 16, 8, 64, 32),) if setting.dry_run else CASES
    rows: list[list[str | float]] = []
    with torch.device(setting.device):
        for case in cases:
            for form, make in (("plain", plain_runs), ("projected", projected_runs)):
                if setting.seconds_left < 0:
                    break
                medians, equal = compare(make(case), 3 if setting.dry_run else 20, setting.clock)
                ours = medians.pop("ours")
                for name, other in medians.items():
                    rows.append([f"{case}, {form}", name, ours, other, other / ours, equal[name]])
    return [Table("Search", ["codebooks", "other", "ours, ms", "other, ms", "ratio", "equal codes"], rows)]
