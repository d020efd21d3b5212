"""Encode and decode files block by block, as if their sound came in now, and tell whether the model keeps up.

For each FILE, writes NAME.stream.wav and prints the latency that the model's layers have, the time that computing a
block took, and the delay: sound that is played so long after it came in never waits. One thread is often the fastest
(OMP_NUM_THREADS=1).
"""

import argparse
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.sound import add_file_arguments, add_model_arguments, load_model, read_for, unique_stems
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.models.streaming import Streaming
from hf_audio_vae.modules.distributions import DiagonalGaussian

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
    """Declare the verb's arguments."""
    add_file_arguments(parser, "streamed")
    add_model_arguments(parser)
    parser.add_argument("--block_seconds", type=float, default=0.02, help="sound that comes in at a time")


def run(arguments: argparse.Namespace) -> None:
    """Carry out the verb."""
    stems = unique_stems(arguments.files)
    model = load_model(arguments.model, arguments)
    block = round(arguments.block_seconds * model.sampling_rate)
    if block < 1:
        raise ValueError(f"--block_seconds is {arguments.block_seconds}; a block needs at least 1 sample.")
    streaming = model.streaming()
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
    print(f"threads: {torch.get_num_threads()}, device: {model.device}; sound is in {arguments.output_dir}")


@dataclass(frozen=True)
class Played:
    """What came out of a signal's blocks, the end of the signal as one more.

    Args:
        sound (`torch.Tensor` of shape `(batch, audio_channels, time)`): On the CPU.
        seconds (`list[float]`): That computing each took.
        starts (`list[int]`): Samples that were out before each.
    """

    sound: Tensor
    seconds: list[float]
    starts: list[int]


def play(streaming: Streaming[DiagonalGaussian] | Streaming[Tensor], waveform: Tensor, block: int) -> Played:
    """Encode and decode `block` samples at a time."""
    streaming.encoder.reset()
    streaming.decoder.reset()
    sounds, seconds, starts, place = [], [], [], 0
    for piece in (*waveform.split(block, dim=-1), None):
        started = time.perf_counter()
        encoded = streaming.encoder.flush() if piece is None else streaming.encoder.push(piece)
        latents = encoded.mode() if isinstance(encoded, DiagonalGaussian) else encoded
        sound = streaming.decoder.push(latents)
        if piece is None:
            sound = torch.cat([sound, streaming.decoder.flush()], dim=-1)
        sounds.append(sound.cpu())  # waits for a GPU to finish
        seconds.append(time.perf_counter() - started)
        starts.append(place)
        place += sound.shape[-1]
    return Played(torch.cat(sounds, dim=-1), seconds, starts)


def figures(played: Played, time: int, block: int, sampling_rate: int) -> list[float]:
    """Return the numbers of a row of the table: milliseconds, then how many times faster than real time."""
    finished, delays = 0.0, []
    for place, (seconds, start) in enumerate(zip(played.seconds, played.starts, strict=True)):
        came_in = min((place + 1) * block, time) / sampling_rate
        finished = max(finished, came_in) + seconds  # a block waits for the one before it
        delays.append(finished - start / sampling_rate)
    computing = torch.tensor(played.seconds, dtype=torch.float64)
    spread = torch.stack([computing.median(), computing.quantile(0.99), computing.max()])
    in_seconds = [block / sampling_rate, *spread.tolist(), max(delays)]
    return [*(1e3 * value for value in in_seconds), time / sampling_rate / sum(played.seconds)]
