"""Time and memory of `WaveformVAE` beside diffusers' `AutoencoderOobleck`, on equal weights and on the CPU.

Times are medians of runs that take turns in one process, after one run that is not counted and that compares the
outputs. Memory is the most that tensors held at one time beyond the input and the output. `--tile-frames` tries chunk
sizes.

    python benchmarks/waveform_vae_vs_oobleck.py --config small --seconds 24 --repeats 5 --tile-frames 100 200 400
"""

import argparse
import functools
from typing import TypeAlias

import torch
from diffusers import AutoencoderOobleck
from measuring import median_seconds, print_table, relative_difference, working_mib
from torch import Tensor

from hf_audio_vae import WaveformVAE

Model: TypeAlias = "WaveformVAE | AutoencoderOobleck"
CONFIGS: dict[str, dict[str, int | list[int]]] = {
    "small": {
        "encoder_hidden_size": 32,
        "downsampling_ratios": [2, 4, 8, 8],
        "channel_multiples": [1, 2, 4, 8],
        "decoder_channels": 32,
        "decoder_input_channels": 16,
    },
    "stable-audio-open": {},  # the defaults of both classes
}
WHOLE, DEFAULT = "whole", "default"  # instead of a number of frames a chunk


def build(config: str) -> tuple[WaveformVAE, AutoencoderOobleck]:
    """Return both models with the same random weights, held once."""
    torch.manual_seed(0)
    theirs = AutoencoderOobleck(**CONFIGS[config]).eval()
    with torch.device("meta"):
        ours = WaveformVAE(**CONFIGS[config]).eval()
    ours.load_state_dict(theirs.state_dict(), assign=True)
    return ours, theirs


def tile(model: Model, frames: str) -> None:
    """Code in chunks of so many frames, of the default size, or not at all."""
    if frames == WHOLE:
        model.disable_tiling()
    elif frames == DEFAULT:
        model.enable_tiling()
    else:
        model.enable_tiling(int(frames))


def example(model: Model, task: str, frames: int) -> Tensor:
    """Return a random waveform or random latents of so many frames."""
    shape = {
        "encode": (1, model.config.audio_channels, frames * model.hop_length),
        "decode": (1, model.config.decoder_input_channels, frames),
    }[task]
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))


def run(model: Model, task: str, x: Tensor) -> Tensor:
    """Encode a waveform or decode latents."""
    return model.encode(x).latent_dist.mean if task == "encode" else model.decode(x).sample


def memory(model: Model, task: str, frames_a_chunk: str, frames: int) -> float:
    """Return in MiB the most that one run holds beyond its input and its output."""
    tile(model, frames_a_chunk)
    x = example(model, task, frames)
    return working_mib(lambda: run(model, task, x))


def compare(arguments: argparse.Namespace, ours: WaveformVAE, theirs: AutoencoderOobleck, frames: int) -> None:
    """Print time, memory and exactness of both classes, whole and in chunks of each one's default size."""
    rows: list[list[str | float]] = []
    for task in arguments.tasks:
        x = example(ours, task, frames)
        wholes: list[Tensor] = []
        for chunks, label in ((WHOLE, "whole"), (DEFAULT, "in chunks")):
            for model in (ours, theirs):
                tile(model, chunks)
            outputs = [run(ours, task, x), run(theirs, task, x)]
            wholes = wholes or outputs
            if relative_difference(*wholes) > 1e-5:
                raise SystemExit(f"{task}: outputs differ by {relative_difference(*wholes):.1e} of the largest.")
            errors = [relative_difference(y, whole) for y, whole in zip(outputs, wholes, strict=True)]
            del outputs
            runs = [functools.partial(run, model, task, x) for model in (ours, theirs)]
            a, b = median_seconds(runs, arguments.repeats)
            bytes_a, bytes_b = (memory(model, task, chunks, frames) for model in (ours, theirs))
            rows.append([f"{task}, {label}", a, b, b / a, bytes_a, bytes_b, bytes_a / bytes_b, *errors])
    header = ["", "s", "Oobleck s", "speed ratio", "MiB", "Oobleck MiB", "memory ratio", "error", "Oobleck error"]
    print_table(header, rows)


def compare_chunks(arguments: argparse.Namespace, model: WaveformVAE, frames: int) -> None:
    """Print the throughput of chunks of several sizes beside that of the whole signal, and their memory."""
    sizes = [WHOLE, str(model.default_tile_frames), *map(str, arguments.tile_frames)]

    def timed(size: str, task: str, x: Tensor) -> Tensor:
        tile(model, size)
        return run(model, task, x)

    for task in arguments.tasks:
        runs = [functools.partial(timed, size, task, example(model, task, frames)) for size in sizes]
        medians = median_seconds(runs, arguments.repeats)
        rows: list[list[str | float]] = [
            [size, seconds, medians[0] / seconds, memory(model, task, size, frames)]
            for size, seconds in zip(sizes, medians, strict=True)
        ]
        print_table([f"{task}: frames a chunk", "s", "throughput / whole", "MiB"], rows)


def compare_lengths(arguments: argparse.Namespace, model: WaveformVAE, frames: int) -> None:
    """Print the memory beyond input and output at one, two and four times the length."""
    rows: list[list[str | float]] = []
    for task in arguments.tasks:
        for length in (frames, 2 * frames, 4 * frames):
            label = f"{task}, {length * model.hop_length / model.sampling_rate:.0f} s"
            rows.append([label, *(memory(model, task, chunks, length) for chunks in (WHOLE, DEFAULT))])
    print_table(["", "whole MiB", "in chunks MiB"], rows)


def main() -> None:
    """Parse the options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, default="small")
    parser.add_argument("--tasks", nargs="+", choices=["encode", "decode"], default=["encode", "decode"])
    parser.add_argument("--seconds", type=float, default=24, help="length of the audio")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tile-frames", type=int, nargs="*", default=[], help="chunk sizes beside the default")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        ours, theirs = build(arguments.config)
        frames = round(arguments.seconds * ours.sampling_rate / ours.hop_length)
        print(f"{arguments.config}, {arguments.seconds:g} s of audio ({frames} frames), {arguments.threads} threads")
        compare(arguments, ours, theirs, frames)
        compare_chunks(arguments, ours, frames)
        compare_lengths(arguments, ours, frames)


if __name__ == "__main__":
    main()
