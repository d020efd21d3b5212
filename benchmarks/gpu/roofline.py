"""Peak rates of the machine: copies, matrix products, convolutions."""

import functools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from gpu.setting import Part, Setting, Table, tf32
from measuring import median_seconds

REPEATS = 10


def run(setting: Setting) -> Iterator[Part]:
    """Measure the rates and store them in `setting.peaks`."""
    yield lambda: rates(setting)


def rates(setting: Setting) -> Table:
    """Measure copies, products and convolutions."""
    size, side = (2**20, 256) if setting.dry_run else (2**30, 8192)
    channels, time = (32, 2**10) if setting.dry_run else (512, 2**16)
    source = torch.empty(size, dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    rows = [_row(setting, "copy", functools.partial(target.copy_, source), 2.0 * size, "TB/s")]
    del source, target
    for name, dtype, allowed in (
        ("float32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bfloat16", torch.bfloat16, True),
    ):
        a, b = (torch.randn(side, side, device=setting.device, dtype=dtype) for _ in range(2))
        x = torch.randn(1, channels, time, device=setting.device, dtype=dtype)
        weight = torch.randn(channels, channels, 7, device=setting.device, dtype=dtype)
        with tf32(allowed):
            product, convolution = (
                functools.partial(torch.matmul, a, b),
                functools.partial(F.conv1d, x, weight, padding=3),
            )
            rows.append(_row(setting, f"product, {name}", product, 2.0 * side**3, "TFLOP/s"))
            operations = 2.0 * 7 * channels**2 * time
            rows.append(_row(setting, f"convolution of 7 taps, {name}", convolution, operations, "TFLOP/s"))
    return Table(f"Rates: {size / 2**20:.0f} MiB, {side} x {side}, {channels} channels", ["", "rate", "unit"], rows)


def _row(setting: Setting, name: str, function: Callable[[], object], amount: float, unit: str) -> list[str | float]:
    function()
    rate = amount / median_seconds([function], REPEATS, setting.clock)[0]
    setting.peaks[name] = rate
    return [name, rate / 1e12, unit]
