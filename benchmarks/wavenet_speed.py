"""Samples a second of an autoregressive WaveNet: recomputed for each sample, with cached layers, and compiled.

Peaks are those of one core on matrices in its cache: of torch's products with a vector, and of reading, measured by
sums. A sample reads all weights once, two or four bytes each.

The network is that of WaveNet vocoders: 30 layers, 64 residual and 256 skip channels, at 16 kHz. All forms generate
from command_line import Parser, count, main_or_exit
from the same frames, on one thread, in alternating runs; times are medians of processor time.

    python benchmarks/wavenet_speed.py
"""

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from command_line import Parser, count, main_or_exit
from measuring import median_seconds, print_table
from torch import Tensor

from hf_audio_vae.modules.autoregressive import AutoregressiveWaveNet
from hf_audio_vae.modules.frame_generation import FrameGenerator, UniformNoise
from hf_audio_vae.modules.sample_distributions import DISTRIBUTIONS
from hf_audio_vae.runtime.fused.wavenet import compiled_wavenet

RATE, HOP = 16000, 320
SIDES, CALLS = (256, 512, 1024), 500
DILATIONS = tuple(2**layer for layer in range(10)) * 3


@torch.no_grad()
def naive_sample(net: AutoregressiveWaveNet, frames: Tensor) -> Tensor:
    """Predict one sample from the whole receptive field."""
    count = -(-net.receptive_field // HOP)
    past = torch.zeros(1, 1, count * HOP, dtype=frames.dtype)
    parameters = net.predict(frames[..., :count], past)[..., -1]
    return net.distribution.draw(parameters, torch.rand(1, 1, 2), 1.0, past[..., -1])


def generated(form: FrameGenerator, frames: Tensor) -> Tensor:
    """Generate all samples."""
    return form.generate(frames, UniformNoise(1))


def repeated(function: Callable[[], Tensor]) -> Tensor:
    """Call a function `CALLS` times."""
    for _ in range(CALLS):
        result = function()
    return result


def peaks(repeats: int) -> tuple[float, float]:
    """Return the most operations a second in products of a matrix and a vector, and bytes a second in sums of it."""
    matrices = [torch.randn(side, side) for side in SIDES]
    products = [partial(repeated, partial(torch.mv, matrix, torch.randn(len(matrix)))) for matrix in matrices]
    sums = [partial(repeated, matrix.sum) for matrix in matrices]
    seconds = median_seconds(products + sums, repeats, time.process_time)
    rates = [CALLS * side**2 / spent for side, spent in zip(SIDES + SIDES, seconds, strict=True)]
    return 2 * max(rates[: len(SIDES)]), 4 * max(rates[len(SIDES) :])


def main(argv: Sequence[str]) -> None:
    """Print a row for each form."""
    parser = Parser(__doc__)
    parser.add_argument("--distribution", choices=DISTRIBUTIONS, default="logistic_mixture")
    parser.add_argument("--repeats", type=count, default=5)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distribution = DISTRIBUTIONS[arguments.distribution](256 if arguments.distribution == "mu_law" else 10)
    net = AutoregressiveWaveNet(1, 128, 64, 256, DILATIONS, HOP, distribution).eval()
    frames = torch.randn(1, 128, 12)
    forms: dict[str, FrameGenerator | None] = {"cached": net, "compiled": compiled_wavenet(net)}
    forms["compiled, bfloat16"] = compiled_wavenet(copy.deepcopy(net).bfloat16())
    runs: dict[str, Callable[[], Tensor]] = {"recomputed": partial(naive_sample, net, frames)}
    for name, form in forms.items():
        if form is not None:
            dtype = next(form.parameters()).dtype
            runs[name] = partial(generated, form, frames.to(dtype))
    counts = [1] + (len(runs) - 1) * [frames.shape[-1] * HOP]
    weights = sum(p.numel() for name, p in net.named_parameters() if "weight" in name and "condition" not in name)
    product_peak, reading_peak = peaks(arguments.repeats)
    seconds = median_seconds(list(runs.values()), arguments.repeats, time.process_time)
    speeds = [count / spent for count, spent in zip(counts, seconds, strict=True)]
    rows = [
        [
            *(name, f"{speed:.0f}", f"{speed / speeds[0]:.0f}", f"{speed / RATE:.2f}"),
            f"{2 * weights * speed / product_peak:.0%}",
            f"{(2 if 'bfloat16' in name else 4) * weights * speed / reading_peak:.0%}",
        ]
        for name, speed in zip(runs, speeds, strict=True)
    ]
    headings = ["form", "samples a second", "times recomputed", "times real time", "of torch's products", "of reading"]
    print_table(headings, rows)
    print(
        f"{2e-6 * weights:.2f} MFLOP a sample; peaks: products {1e-9 * product_peak:.1f} GFLOP a second, reading "
        f"{1e-9 * reading_peak:.1f} GB a second"
    )


if __name__ == "__main__":
    main_or_exit(main)
