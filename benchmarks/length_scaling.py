"""Throughput and memory for a long file compared with a short one: both should be equal.

A file of noise is read and encoded chunk by chunk; latents are decoded in chunks into one waveform. Each length runs
in its own processes, which alternate, after one second that is not timed. A short length runs several times for the
median, with one thread in CPU time. Memory beyond the weights is the peak of resident memory minus that at the start,
and the peak of tensor memory counted by torch. Both are without the waveform that decoding returns.

    python benchmarks/length_scaling.py --seconds 10 3600 --threads 1 --repeats 3
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from command_line import Parser, amount, count, main_or_exit
from measuring import MIB, print_table, working_mib
from torch import Tensor
from waveform_vae_vs_oobleck import CONFIGS as OOBLECKS

from hf_audio_vae import WaveformVAE
from hf_audio_vae.audio import open_audio

CONFIGS = {
    "demo": {  # from training/recipes/waveform-vae-demo.yaml
        "encoder_hidden_size": 16,
        "downsampling_ratios": [2, 4, 4],
        "channel_multiples": [1, 2, 4],
        "decoder_channels": 16,
        "decoder_input_channels": 8,
        "audio_channels": 1,
        "sampling_rate": 16000,
    },
    **OOBLECKS,
}
SHORTEST_MEASUREMENT = 60.0  # seconds of audio


def write_noise(path: Path, model: WaveformVAE, seconds: float) -> None:
    """Write a file of noise, one second at a time."""
    rate, generator = model.sampling_rate, np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", rate, model.config.audio_channels, "PCM_16") as file:
        for _ in range(math.ceil(seconds)):
            file.write(generator.normal(0, 0.1, (rate, model.config.audio_channels)))


def encode(model: WaveformVAE, path: Path, seconds: float) -> Tensor:
    """Encode the start of a file; keep only the latents of the last chunk."""
    with open_audio(path) as reader:

        def read(start: int, stop: int) -> Tensor:
            return reader.read(start, stop - start)[None]

        for posterior in model.encode_chunks(read, round(seconds * model.sampling_rate)):
            latents = posterior.mean
    return latents


def memory_status(key: str) -> float:
    """Return the memory of this process in MiB: `VmRSS` is resident now, `VmHWM` is the peak."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) * 1024 / MIB


def measure(task: str, model: WaveformVAE, path: Path, seconds: float, tensors: bool) -> dict[str, float]:
    """Encode or decode `seconds` of audio; return speed and resident memory, or tensor memory."""
    frames = round(seconds * model.frame_rate)
    latents = torch.randn(1, model.latent_channels, frames, generator=torch.Generator().manual_seed(0))
    code: Callable[[float], Tensor] = {
        "encode": lambda seconds: encode(model, path, seconds),
        "decode": lambda seconds: model.decode(latents[..., : round(seconds * model.frame_rate)]).sample,
    }[task]
    if tensors:
        return {"tensors_mib": working_mib(lambda: code(seconds))}
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = memory_status("VmRSS")
    code(1.0)
    times, clock = [], time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    for _ in range(math.ceil(SHORTEST_MEASUREMENT / seconds)):
        start = clock()
        output_mib = code(seconds).nbytes / MIB
        times.append(clock() - start)
    resident_mib = memory_status("VmHWM") - before - output_mib
    return {"times_real_time": seconds / statistics.median(times), "resident_mib": resident_mib}


def measure_in_process(arguments: argparse.Namespace, *options: str) -> dict[str, float]:
    """Measure in a new process."""
    command = ["--config", arguments.config, "--form", arguments.form, "--threads", str(arguments.threads)]
    command += ["--measure", *options]
    done = subprocess.run([sys.executable, __file__, *command], check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(arguments: argparse.Namespace, path: str) -> None:
    """Print speed and memory for each length, and the speed ratio to the first."""
    cases = [(task, str(seconds)) for task in ("encode", "decode") for seconds in arguments.seconds]
    timed: dict[tuple[str, str], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(arguments.repeats):
        for case in cases:
            timed[case].append(measure_in_process(arguments, *case, path, "time"))
    rows: list[list[str | float]] = []
    for case in cases:
        task, seconds = case
        speed, resident = (
            statistics.median(run[name] for run in timed[case]) for name in ("times_real_time", "resident_mib")
        )
        if seconds == str(arguments.seconds[0]):
            first = speed
        tensors = measure_in_process(arguments, *case, path, "tensors")["tensors_mib"]
        rows.append([f"{task}, {float(seconds):g} s", speed, speed / first, resident, tensors])
    print_table(["", "times real time", "/ the first length", "resident MiB", "tensors MiB"], rows)


def main(argv: Sequence[str]) -> None:
    """Parse the options and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--config", choices=CONFIGS, default="demo")
    parser.add_argument("--seconds", type=amount, nargs="+", default=[10.0, 3600.0], help="lengths of the audio")
    parser.add_argument("--repeats", type=count, default=3)
    parser.add_argument("--threads", type=count, default=torch.get_num_threads())
    parser.add_argument("--form", choices=["fused", "tiled"], default="fused")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = WaveformVAE(**CONFIGS[arguments.config]).eval()
    model.enable_tiling()
    if arguments.form == "fused":
        model.fuse()
    if arguments.measure:
        task, seconds, path, quantity = arguments.measure
        with torch.inference_mode():
            print(json.dumps(measure(task, model, Path(path), float(seconds), quantity == "tensors")))
        return
    print(f"{arguments.config}, {arguments.form}, {arguments.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        write_noise(Path(folder) / "noise.wav", model, max(arguments.seconds))
        compare(arguments, str(Path(folder) / "noise.wav"))


if __name__ == "__main__":
    main_or_exit(main)
