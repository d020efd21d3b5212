"""Encode and decode files block by block like live sound, report whether the model runs in real time.

For each FILE, writes NAME.stream.wav and prints the algorithmic latency of the model, the computing time per block and
the delay: the time from input to output at which playback never waits. One thread is often the fastest
(OMP_NUM_THREADS=1). For a hierarchy, a single level is streamed.
"""

import argparse
import math
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.sound import (
    add_file_arguments,
    add_model_arguments,
    load_model,
    read_for,
    to_best_device,
    unique_stems,
)
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.models import AutoencoderModel
from hf_audio_vae.modules.distributions import DiagonalGaussian
from hf_audio_vae.runtime.streaming import Streaming

COLUMNS = (
    "file",
    "latency ms",
    "block ms",
    "median ms",
    "99 % ms",
    "max ms",
    "delay ms",
    "times real time",
    "keeps up",
)
WARM_UP_BLOCKS = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "streamed")
    add_model_arguments(parser)
    parser.add_argument("--block_seconds", type=float, default=0.02, help="seconds of sound per block")
    parser.add_argument("--level", type=int, help="level of a hierarchy; default: the finest, if the model decodes it")


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    stems = unique_stems(arguments.files)
    model = load_model(arguments.model, arguments)
    block = samples_of(arguments.block_seconds, model.sampling_rate)
    to_best_device(model)
    streaming = streaming_of(model, arguments.level)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    rows: list[list[str | float]] = []
    for path, stem in stems.items():
        waveform = read_for(model, path)[None].to(model.device)
        play(streaming, waveform[..., : WARM_UP_BLOCKS * block], block)
        played = play(streaming, waveform, block)
        numbers = figures(played, waveform.shape[-1], block, model.sampling_rate)
        rows.append([stem, 1e3 * streaming.latency.seconds, *numbers, "yes" if numbers[-1] > 1 else "no"])
        target = arguments.output_dir / f"{stem}.stream.wav"
        write_audio(target, played.sound[0, :, : waveform.shape[-1]], model.sampling_rate)
    print(table(COLUMNS, rows))
    latency = streaming.latency
    if latency.start > latency.total:
        start = 1e3 * latency.start / model.sampling_rate
        print(f"the first sample comes after {start:.3f} ms, since the model reflects the start of the sound")
    if model.codes_by_level:
        print(f"level: {arguments.level or 0}, of 0 (the finest) to {len(model.codebook_sizes) - 1}")
    print(f"threads: {torch.get_num_threads()}, device: {model.device}; sound is in {arguments.output_dir}")


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
    """Output of the blocks of a signal. The end of the signal counts as an additional block.

    Args:
        sound (`torch.Tensor` of shape `(batch, audio_channels, time)`): Output on the CPU.
        seconds (`list[float]`): Computing time of each block.
        starts (`list[int]`): Number of output samples before each block.
    """

    sound: Tensor
    seconds: list[float]
    starts: list[int]


def play(streaming: Streaming[DiagonalGaussian] | Streaming[Tensor], waveform: Tensor, block: int) -> Played:
    """Encode and decode `block` samples at a time."""
    streaming.encoder.reset()
    streaming.decoder.reset()
    sounds, seconds, starts, position = [], [], [], 0
    for piece in (*waveform.split(min(block, waveform.shape[-1]), dim=-1), None):
        started = perf_counter()
        encoded = streaming.encoder.flush() if piece is None else streaming.encoder.push(piece)
        latents = encoded.mode() if isinstance(encoded, DiagonalGaussian) else encoded
        sound = streaming.decoder.push(latents)
        if piece is None:
            sound = torch.cat([sound, streaming.decoder.flush()], dim=-1)
        sounds.append(sound.cpu())  # waits for a GPU to finish
        seconds.append(perf_counter() - started)
        starts.append(position)
        position += sound.shape[-1]
    return Played(torch.cat(sounds, dim=-1), seconds, starts)


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
