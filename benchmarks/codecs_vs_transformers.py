"""Time and memory of `WaveformVQVAE` compared with the codecs of transformers, on the CPU.

DAC and EnCodec have equal weights, at published sizes. Mimi is compared with a convolutional codec of about as many
multiply-adds. Times are medians of alternating runs in one process, in CPU time on one thread. A run before, which is
not timed, compares the outputs: the share of equal codes, and the largest difference of the audio over its peak. With
different weights, chunked coding is compared with coding the whole signal. Memory is the peak of tensor memory beyond
input and output. Multiply-adds are counted by torch, per second of audio, without Mimi's search and attention scores,
LSTMs (EnCodec's, theirs and ours) and compiled kernels.

    python benchmarks/codecs_vs_transformers.py --threads 1 --seconds 10 --repeats 5
"""

import copy
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from codec_parity import DACS, ENCODECS, dac, encodec, randomized
from command_line import Parser, amount, count, main_or_exit
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
    """A codec: waveform (batch, audio_channels, time) -> codes -> waveform."""

    encode: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rivals:
    """Codecs to compare, transformers' first.

    Args:
        coders (`dict[str, Coder]`): Codecs by name, each a row of the table.
        model (`WaveformVQVAE`): Our model, for its sizes and rates.
        equal_weights (`bool`): All codecs have the same weights.
    """

    coders: dict[str, Coder]
    model: WaveformVQVAE
    equal_weights: bool


def our_coders(model: Any) -> dict[str, Coder]:
    """Return the forms of our model."""
    fused = copy.deepcopy(model)
    fused.fuse()
    has_kernels = fused.coder.networks[fused.encoder].kernels is not None

    def coder(model: Any, tiled: bool) -> Coder:
        def run(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
            if tiled:
                model.enable_tiling()
            else:
                model.disable_tiling()
            return function(x)

        return Coder(
            functools.partial(run, lambda x: model.encode(x).audio_codes),
            functools.partial(run, lambda codes: model.decode(codes).audio_values),
        )

    return {
        "ours": coder(model, tiled=False),
        "ours, in chunks": coder(model, tiled=True),
        "ours, fused" if has_kernels else "ours, folded": coder(fused, tiled=False),
    }


def dac_and_ours() -> Rivals:
    """Create a DAC and its conversion."""
    pair = dac(DACS["DAC 44.1 kHz"])
    theirs = Coder(pair.encode, lambda codes: pair.decode(codes, None))
    return Rivals({"DacModel": theirs} | our_coders(pair.ours), pair.ours, equal_weights=True)


def encodec_and_ours() -> Rivals:
    """Create an EnCodec and its conversion."""
    pair = encodec(ENCODECS["EnCodec 24 kHz"])
    theirs = Coder(pair.encode, lambda codes: pair.decode(codes, None))
    return Rivals({"EncodecModel": theirs} | our_coders(pair.ours), pair.ours, equal_weights=True)


def mimi_and_ours() -> Rivals:
    """Create a Mimi, and a codec without a transformer of about as many multiply-adds."""
    mimi: Any = randomized(MimiModel(MimiConfig()))
    model = randomized(WaveformVQVAE(WaveformVQVAEConfig(**LIKE_MIMI)))
    theirs = Coder(lambda x: mimi.encode(x).audio_codes, lambda codes: mimi.decode(codes).audio_values)
    return Rivals({"MimiModel": theirs} | our_coders(model), model, equal_weights=False)


CODECS: dict[str, Callable[[], Rivals]] = {"dac": dac_and_ours, "encodec": encodec_and_ours, "mimi": mimi_and_ours}


def agreement(actual: Tensor, expected: Tensor) -> str:
    """Return the share of equal codes, or the largest difference of the audio over its peak."""
    if actual.is_floating_point():
        return f"{relative_difference(actual, expected):.1e}"
    return f"{(actual == expected).double().mean().item():.2%}"


def compare(rivals: Rivals, seconds: float, repeats: int) -> list[list[str | float]]:
    """Return a row for encoding with each codec, then a row for decoding with each."""
    model, generator = rivals.model, torch.Generator().manual_seed(0)
    frames = round(seconds * model.frame_rate)
    waveform = 0.3 * torch.randn(1, model.config.audio_channels, frames * model.hop_length, generator=generator)
    codes = torch.randint(model.codebook_sizes[0], (1, model.num_codebooks, frames), generator=generator)
    rows: list[list[str | float]] = []
    for task, x in (("encode", waveform), ("decode", codes)):
        runs = {name: functools.partial(getattr(coder, task), x) for name, coder in rivals.coders.items()}
        outputs, billions = {}, {}
        for name, run in runs.items():
            with FlopCounterMode(display=False) as counter:
                outputs[name] = run()
            billions[name] = counter.get_total_flops() / 2e9 / seconds
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


def main(argv: Sequence[str]) -> None:
    """Parse the options and print a table for each codec."""
    parser = Parser(__doc__)
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--seconds", type=amount, default=10, help="length of the audio")
    parser.add_argument("--repeats", type=count, default=5)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    header = ["", "10^9 multiply-adds / s", "s", "speed ratio", "MiB", "memory ratio", "agreement"]
    with torch.no_grad():
        for codec in arguments.codecs:
            print(f"\n{codec}, {arguments.seconds:g} s of audio, {arguments.threads} threads", end="")
            print_table(header, compare(CODECS[codec](), arguments.seconds, arguments.repeats))


if __name__ == "__main__":
    main_or_exit(main)
