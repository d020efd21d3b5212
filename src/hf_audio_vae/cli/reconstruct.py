"""Encode and decode files: sound, spectrograms and a table of metrics.

For each FILE, writes NAME.original.wav and NAME.reconstruction.wav at the model's rate and channels, and NAME.png with
the spectrograms of both and of the residual.
"""

import argparse
import time

import torch

from hf_audio_vae.audio import write_audio
from hf_audio_vae.cli.sound import add_file_arguments, add_model_arguments, load_coder, read_for, unique_stems
from hf_audio_vae.evaluation import reconstruction_figure, reconstruction_metrics
from hf_audio_vae.evaluation.reports import METRICS, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_file_arguments(parser, "reconstructions")
    add_model_arguments(parser)


@torch.no_grad()
def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    stems = unique_stems(arguments.files)
    model = load_coder(arguments.model, arguments)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    rows: list[list[str | float]] = []
    for path, stem in stems.items():
        original = read_for(model, path)
        started = time.perf_counter()
        output = model(original[None].to(model.device)).sample[0].cpu()  # .cpu() waits for a GPU to finish
        elapsed = time.perf_counter() - started
        metrics = reconstruction_metrics(output[None], original[None], model.sampling_rate)
        seconds = original.shape[-1] / model.sampling_rate
        rows.append([stem, *(value.item() for value in metrics.values()), seconds / elapsed])
        prefix = arguments.output_dir / stem
        write_audio(f"{prefix}.original.wav", original, model.sampling_rate)
        write_audio(f"{prefix}.reconstruction.wav", output, model.sampling_rate)
        reconstruction_figure(original, output, model.sampling_rate, stem).savefig(f"{prefix}.png", dpi=120)
    names = [METRICS[name] for name in ("si_sdr_db", "multi_resolution_stft", "mel_distance", "real_time_factor")]
    print(table(["file", *names], rows))
    print(f"sound and figures are in {arguments.output_dir}")
