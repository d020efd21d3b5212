"""The `stream` command."""

import argparse
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from hf_audio_vae.audio.io import write_audio_blocks
from hf_audio_vae.cli.inputs import sound_files
from hf_audio_vae.cli.outputs import Outputs, printable
from hf_audio_vae.cli.sound import Notices, load_model, open_sound, process_files, to_best_device
from hf_audio_vae.cli.tables import print_remark, print_table
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.models.sound_files import check_finite
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.runtime.streaming import Streaming

COLUMNS = {
    "file": "file",
    "latency_ms": "latency ms",
    "block_ms": "block ms",
    "median_ms": "median ms",
    "p99_ms": "99 % ms",
    "max_ms": "max ms",
    "delay_ms": "delay ms",
    "real_time_factor": "times real time",
    "keeps_up": "keeps up",
}
WARM_UP_BLOCKS = 20
MAX_THREADS = 1024


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    files = sound_files(arguments.files, arguments.output_dir)
    outputs = Outputs(files, arguments.output_dir, [".stream.wav"], overwrite=arguments.overwrite)
    model = load_model(arguments.model, arguments)
    block = samples_of(arguments.block_seconds, model.sampling_rate)
    to_best_device(model)
    streaming = streaming_of(model, arguments.level)
    rows: list[list[str | float]] = []
    notices = Notices()
    candidates = thread_counts(arguments.threads, model.device)

    def process(path: Path) -> None:
        with open_sound(model, path, notices) as sound, outputs.writing(path) as (target,):

            def read(start: int, stop: int) -> Tensor:
                return sound.read(start, stop)[None].to(model.device)

            time, played = sound.num_samples, Played([], [])

            def warm_up() -> float:
                first = Played([], [])
                for _ in play(streaming, read, min(time, WARM_UP_BLOCKS * block), block, first):
                    pass
                return sum(first.seconds)

            if not rows:
                use_fastest(candidates, warm_up)
            warm_up()
            blocks = play(streaming, read, time, block, played)
            write_audio_blocks(target, _checked(path, blocks, time), time, model.sampling_rate)
        numbers = figures(played, time, block, model.sampling_rate)
        name = printable(outputs.stems[path])
        rows.append([name, 1e3 * streaming.latency.seconds, *numbers, "yes" if numbers[-1] > 1 else "no"])

    try:
        return process_files("stream", list(files), process, notices)
    finally:
        if rows:
            print_table(COLUMNS, rows, arguments.format)
            print_conditions(streaming, model, arguments)


def thread_counts(given: int | None, device: torch.device) -> list[int]:
    """Return the numbers of threads to try: the given one, else powers of two up to that of torch."""
    most = torch.get_num_threads()
    if given is not None:
        if not 1 <= given <= MAX_THREADS:
            raise ValueError(f"--threads is {given}; give 1 to {MAX_THREADS}.")
        return [given]
    if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return [most]
    return [count for count in (2**power for power in range(most.bit_length())) if count < most] + [most]


def use_fastest(candidates: Sequence[int], trial: Callable[[], float]) -> None:
    """Set torch's number of threads to the one with which a trial takes the fewest seconds."""
    seconds = {}
    for count in candidates:
        torch.set_num_threads(count)
        seconds[count] = min(trial(), trial()) if len(candidates) > 1 else 0.0  # the first has no kernels yet
    torch.set_num_threads(min(seconds, key=lambda count: seconds[count]))


def print_conditions(
    streaming: Streaming[DiagonalGaussian] | Streaming[Tensor], model: AutoencoderModel, arguments: argparse.Namespace
) -> None:
    """Print what the figures of the table depend on."""
    latency, remark = streaming.latency, partial(print_remark, format=arguments.format)
    if latency.start > latency.total:
        start = 1e3 * latency.start / model.sampling_rate
        remark(f"the first sample comes after {start:.3f} ms, since the model reflects the start of the sound")
    if model.codes_by_level:
        remark(f"level: {arguments.level or 0}, of 0 (the finest) to {len(model.codebook_sizes) - 1}")
    folder = printable(arguments.output_dir)
    remark(f"threads: {torch.get_num_threads()}, device: {model.device}; sound is in {folder}")


def _checked(path: Path, blocks: Iterator[Tensor], time: int) -> Iterator[Tensor]:
    """Yield (audio_channels, time) up to the length of the input."""
    for block in blocks:
        check_finite(path, block)
        yield block[0, :, :time]
        time -= min(block.shape[-1], time)


def samples_of(block_seconds: float, sampling_rate: int) -> int:
    """Return the number of samples of a block."""
    samples = block_seconds * sampling_rate
    if not 1 <= samples < math.inf:  # also refuses NaN
        minimum = f"1 / {sampling_rate}, one sample of the model"
        raise ValueError(f"--block_seconds is {block_seconds}; give a number of at least {minimum}, such as 0.02.")
    return round(samples)


def streaming_of(model: AutoencoderModel, level: int | None) -> Streaming[DiagonalGaussian] | Streaming[Tensor]:
    """Return the streaming form of a model, or of one level of a hierarchy."""
    if model.codes_by_level:
        return model.streaming(level)
    if level is not None:
        raise ValueError(f"--level is {level}; a {type(model).__name__} has no levels, leave it out.")
    return model.streaming()


@dataclass(frozen=True)
class Played:
    """Times of the blocks of a signal. The end of the signal counts as an additional block.

    Args:
        seconds (`list[float]`): Computing time of each block.
        starts (`list[int]`): Number of output samples before each block.
    """

    seconds: list[float]
    starts: list[int]


def play(
    streaming: Streaming[DiagonalGaussian] | Streaming[Tensor],
    read: Callable[[int, int], Tensor],
    time: int,
    block: int,
    played: Played,
) -> Iterator[Tensor]:
    """Encode and decode `block` samples at a time; yield the output on the CPU, and add to `played`."""
    streaming.encoder.reset()
    streaming.decoder.reset()
    position = 0
    for start in (*range(0, time, block), None):
        piece = None if start is None else read(start, min(start + block, time))
        started = perf_counter()
        encoded = streaming.encoder.flush() if piece is None else streaming.encoder.push(piece)
        latents = encoded.mode() if isinstance(encoded, DiagonalGaussian) else encoded
        sound = streaming.decoder.push(latents)
        if piece is None:
            sound = torch.cat([sound, streaming.decoder.flush()], dim=-1)
        output = sound.cpu()  # waits for a GPU to finish
        played.seconds.append(perf_counter() - started)
        played.starts.append(position)
        position += sound.shape[-1]
        yield output


def figures(played: Played, time: int, block: int, sampling_rate: int) -> list[float]:
    """Return the numbers of a table row: times in milliseconds, then the real-time factor."""
    finished, delays = 0.0, []
    for index, (seconds, start) in enumerate(zip(played.seconds, played.starts, strict=True)):
        arrived = min((index + 1) * block, time) / sampling_rate
        finished = max(finished, arrived) + seconds  # a block waits for the previous one
        delays.append(finished - start / sampling_rate)
    computing = torch.tensor(played.seconds, dtype=torch.float64)
    spread = torch.stack([computing.median(), computing.quantile(0.99), computing.max()])
    in_seconds = [block / sampling_rate, *spread.tolist(), max(delays)]
    return [*(1e3 * value for value in in_seconds), time / sampling_rate / sum(played.seconds)]
