"""Time and memory of `WaveformVQVAE` beside the codecs of transformers, on the CPU.

DAC and EnCodec have equal weights, at published sizes; Mimi stands beside convolutions alone that multiply about as
often. Times are medians of runs that take turns in one process, of the processor's time on one thread; one run before,
that is not counted, compares the outputs: the share of codes that are equal, and the largest difference of the sound
over its peak. Where no weights are shared, chunks are compared with the whole. Memory is the most that tensors held at
one time beyond the input and the output. Multiply-adds are those that torch counts, per second of sound: not Mimi's
search and attention scores, no LSTM (EnCodec's, theirs and ours), and nothing of compiled kernels.

    python benchmarks/codecs_vs_transformers.py --threads 1 --seconds 10 --repeats 5
"""

import argparse
import copy
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from codec_parity import DACS, ENCODECS, dac, encodec, randomized
from measuring import median_seconds, print_table, relative_difference, working_mib
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import MimiConfig, MimiModel

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig

LIKE_MIMI: dict[str, Any] = {
    "sampling_rate": 24000,
    "encoder_hidden_size": 64,
    "decoder_hidden_size": 2048,
    "downsampling_ratios": (4, 5, 6, 8, 2),
    "hidden_size": 512,
    "activation": "elu",
    "decoder_last_kernel_size": 3,
    "residual_kernel_size": 5,
    "residual_dilations": (1,),
    "residual_compression": 2,
    "causal": True,
    "final_tanh": False,
    "num_codebooks": 32,
    "codebook_size": 2048,
    "codebook_dim": 256,
    "cosine": False,
}


@dataclass(frozen=True)
class Coder:
    """One way to code: waveform (batch, audio_channels, time) -> codes -> waveform."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rivals:
    """Ways to code that stand beside each other, transformers' first.

    Args:
        coders (`dict[str, Coder]`): By name; what is added here is a row of the table.
        model (`WaveformVQVAE`): Ours, for its numbers.
        equal_weights (`bool`): All have the same.
    """

    coders: dict[str, Coder]
    model: WaveformVQVAE
    equal_weights: bool


def our_coders(model: Any) -> dict[str, Coder]:
    """Return the ways in which our model codes."""
    fused = copy.deepcopy(model)
    fused.fuse()
    has_kernels = fused.coder.networks[fused.encoder].kernels is not None

    def coder(model: Any, tiled: bool) -> Coder:
        def in_its_way(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
            if tiled:
                model.enable_tiling()
            else:
                model.disable_tiling()
            return function(x)

        return Coder(
            functools.partial(in_its_way, lambda x: model.encode(x).audio_codes),
            functools.partial(in_its_way, lambda codes: model.decode(codes).audio_values),
        )

    return {
        "ours": coder(model, tiled=False),
        "ours, in chunks": coder(model, tiled=True),
        "ours, fused" if has_kernels else "ours, folded": coder(fused, tiled=False),
    }


def dac_and_ours() -> Rivals:
    """Make a DAC and its conversion."""
    pair = dac(DACS["DAC 44.1 kHz"])
    theirs = Coder(pair.encode, lambda codes: pair.decode(codes, None))
    return Rivals({"DacModel": theirs} | our_coders(pair.ours), pair.ours, equal_weights=True)


def encodec_and_ours() -> Rivals:
    """Make an EnCodec and its conversion."""
    pair = encodec(ENCODECS["EnCodec 24 kHz"])
    theirs = Coder(pair.encode, lambda codes: pair.decode(codes, None))
    return Rivals({"EncodecModel": theirs} | our_coders(pair.ours), pair.ours, equal_weights=True)


def mimi_and_ours() -> Rivals:
    """Make a Mimi, and a codec without a transformer that multiplies about as often."""
    mimi: Any = randomized(MimiModel(MimiConfig()))
    model = randomized(WaveformVQVAE(WaveformVQVAEConfig(**LIKE_MIMI)))
    theirs = Coder(lambda x: mimi.encode(x).audio_codes, lambda codes: mimi.decode(codes).audio_values)
    return Rivals({"MimiModel": theirs} | our_coders(model), model, equal_weights=False)


CODECS: dict[str, Callable[[], Rivals]] = {"dac": dac_and_ours, "encodec": encodec_and_ours, "mimi": mimi_and_ours}


def agreement(actual: Tensor, expected: Tensor) -> str:
    """Return the share of equal codes, or the largest difference of the sound over its peak."""
    if actual.is_floating_point():
        return f"{relative_difference(actual, expected):.1e}"
    return f"{(actual == expected).double().mean().item():.2%}"


def compare(rivals: Rivals, seconds: float, repeats: int) -> list[list[str | float]]:
    """Return rows of the table: every way to encode, then every way to decode."""
    model, generator = rivals.model, torch.Generator().manual_seed(0)
    frames = round(seconds * model.frame_rate)
    waveform = 0.3 * torch.randn(1, model.config.audio_channels, frames * model.hop_length, generator=generator)
    codes = torch.randint(model.codebook_sizes[0], (1, model.num_codebooks, frames), generator=generator)
    rows: list[list[str | float]] = []
    for task, x in (("encode", waveform), ("decode", codes)):
        runs = {name: functools.partial(getattr(coder, task), x) for name, coder in rivals.coders.items()}
        outputs, billions = {}, {}
        for name, run in runs.items():
            with FlopCounterMode(display=False) as count:
                outputs[name] = run()
            billions[name] = count.get_total_flops() / 2e9 / seconds
        theirs = next(iter(runs))
        expected = outputs[theirs if rivals.equal_weights else "ours"]
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        times = dict(zip(runs, median_seconds(list(runs.values()), repeats, clock), strict=True))
        mib = {name: working_mib(run) for name, run in runs.items()}
        for name in runs:
            agrees = "" if name == theirs else agreement(outputs[name], expected)
            ratios = times[theirs] / times[name], mib[name] / mib[theirs]
            rows.append([f"{task}, {name}", billions[name], times[name], ratios[0], mib[name], ratios[1], agrees])
    return rows


def main() -> None:
    """Parse the options and print a table for each codec."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--seconds", type=float, default=10, help="length of the audio")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    header = ["", "10^9 multiply-adds / s", "s", "speed ratio", "MiB", "memory ratio", "agreement"]
    with torch.no_grad():
        for codec in arguments.codecs:
            print(f"\n{codec}, {arguments.seconds:g} s of audio, {arguments.threads} threads", end="")
            print_table(header, compare(CODECS[codec](), arguments.seconds, arguments.repeats))


if __name__ == "__main__":
    main()
