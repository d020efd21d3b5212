"""Families on equal terms: the same data, processor time, and latent numbers a second.

There are 1000 latent numbers a second at 16 kHz, or 938 with the complex front end, whose bins are no power of two.

Each run trains on one thread, with a constant learning rate and averaged weights, until it has used `--minutes` of
processor time. Then it is stopped, and its average is measured on held-out sound. Speeds of coding are medians of
processor time on one thread, of the plain form.

    python benchmarks/families.py --dataset_name outputs/excerpts --minutes 20
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
import yaml
from command_line import Parser, amount, main_or_exit, output_path
from measuring import median_seconds, print_table
from training_runs import REPO, check_finished

from hf_audio_vae.data import clip_starts, load_audio_stream
from hf_audio_vae.evaluation.health import health_of
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.models import load_autoencoder

RATE, SEGMENT, BATCH = 16000, 0.512, 8
WAVEFORM_LOSSES: dict[str, Any] = {
    "losses": {
        "waveform_l1": {},
        "multi_resolution_stft": {"window_lengths": [1024, 256, 64]},
        "complex_stft": {"window_lengths": [1024, 256]},
    },
    "weights": {"waveform_l1": 10.0, "multi_resolution_stft": 1.0, "complex_stft": 5.0, "kl": 1e-4},
}
SPECTROGRAM: dict[str, Any] = {
    "network": "residual",
    "downsampling_ratios": [128, 2, 1],
    "block_out_channels": [32, 64, 96],
    "layers_per_block": 1,
    "window_length": 512,
    "sampling_rate": RATE,
}
RUNS: dict[str, dict[str, Any]] = {
    "WaveformVAE": {
        "family": "WaveformVAE",
        "model": {
            "encoder_hidden_size": 16,
            "downsampling_ratios": [2, 4, 4, 8],
            "channel_multiples": [1, 2, 4, 8],
            "decoder_channels": 16,
            "decoder_input_channels": 16,
            "audio_channels": 1,
            "sampling_rate": RATE,
        },
        **WAVEFORM_LOSSES,
    },
    "STFTVAE": {
        "family": "STFTVAE",
        "model": {
            "downsampling_ratios": [128, 2],
            "hidden_sizes": [192, 192],
            "num_blocks": [3, 2],
            "latent_channels": 16,
            "window_length": 512,
            "sampling_rate": RATE,
        },
        **WAVEFORM_LOSSES,
    },
    "SpectrogramVAE, complex": {
        "family": "SpectrogramVAE",
        "model": SPECTROGRAM | {"front_end": "complex", "bin_ratios": [8, 4, 2], "latent_channels": 3},
        **WAVEFORM_LOSSES,
    },
    "SpectrogramVAE, mel and Griffin-Lim": {
        "family": "SpectrogramVAE",
        "model": SPECTROGRAM | {"front_end": "mel", "mel_bins": 64, "bin_ratios": [2, 4, 2], "latent_channels": 4},
        "losses": {},
        "weights": {"spectrogram": 1.0, "kl": 1e-4},
    },
}
COMMON: dict[str, Any] = {
    "validation_dataset_name": "data/held_out",
    "max_validation_samples": 1,
    "validation_seconds": 1.0,
    "segment_seconds": SEGMENT,
    "train_batch_size": BATCH,
    "dataloader_num_workers": 1,
    "max_train_steps": 1_000_000,
    "validation_steps": 1_000_000,
    "checkpointing_steps": 1_000_000,
    "lr_scheduler": "constant_with_warmup",
    "lr_warmup_steps": 40,
    "learning_rate": 1e-3,
    "max_grad_norm": 1.0,
    "ema_decay": 0.995,
}


def train_for(folder: Path, recipe: dict[str, Any], minutes: float) -> Path:
    """Train until the process has used this processor time; return the folder of its checkpoint."""
    if not list(folder.glob("checkpoint-*")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.yaml").write_text(yaml.safe_dump(recipe | {"output_dir": str(folder)}))
        command = [sys.executable, str(REPO / "training/train_autoencoder.py"), "--config", str(folder / "run.yaml")]
        with (folder / "log.txt").open("w") as log:
            run = subprocess.Popen(
                command, cwd=REPO, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            process = psutil.Process(run.pid)
            while run.poll() is None and process.cpu_times().user + process.cpu_times().system < 60 * minutes:
                time.sleep(1)
            run.send_signal(signal.SIGTERM)  # it writes a checkpoint
            run.wait()
        if run.returncode not in (0, 128 + signal.SIGTERM):
            check_finished(subprocess.CompletedProcess(command, run.returncode), folder)
    return next(iter(folder.glob("checkpoint-*")))


@torch.no_grad()
def figures_of(model: Any) -> dict[str, float]:
    """Measure a model on the first 4 s of the held-out clips."""
    rows, health = [], health_of(model)
    stream = load_audio_stream(str(REPO / "data/held_out"))
    for _, clip in clip_starts(stream, sampling_rate=RATE, audio_channels=1, max_seconds=4):
        output = model(clip[None])
        rows.append(measure(output.sample, clip[None], {}, RATE))
        health.add(output)
    return mean_metrics(rows) | health.summary()


@torch.inference_mode()
def coding_speeds(model: Any, seconds: float) -> list[float]:
    """Return how many seconds of sound a model encodes and decodes in a second of processor time."""
    waveform = torch.randn(1, 1, round(seconds * RATE)) / 10
    latents = model.encode(waveform).latent_dist.mean
    runs = [lambda: model.encode(waveform).latent_dist.mean, lambda: model.decode(latents).sample]
    return [seconds / spent for spent in median_seconds(runs, 3, time.process_time)]


def main(argv: Sequence[str]) -> None:
    """Train each family, and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--dataset_name", required=True)
    parser.add_argument("--minutes", type=amount, default=20.0)
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/families")
    parser.add_argument("--families", nargs="+", choices=RUNS, default=list(RUNS))
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    load_audio_stream(arguments.dataset_name)  # refused before the first run
    rows = []
    for name in arguments.families:
        folder = arguments.output_dir / re.sub(r"\W+", "-", f"{name} {arguments.minutes:g}")
        recipe = COMMON | {"dataset_name": arguments.dataset_name} | RUNS[name]
        checkpoint = train_for(folder, recipe, arguments.minutes)
        model: Any = load_autoencoder(checkpoint / "ema")
        figures = figures_of(model)
        parameters = sum(weight.numel() for weight in model.parameters())
        learned = int(checkpoint.name.split("-")[1]) * BATCH * SEGMENT / (60 * arguments.minutes)
        columns = ("mel_distance", "multi_resolution_stft", "si_sdr_db")
        rows.append(
            [name, f"{parameters / 1e6:.2f}", f"{figures['bits_per_second'] / 1000:.1f}", *map(figures.get, columns)]
            + [learned, *coding_speeds(model, 10.0)]
        )
    header = ["family", "M parameters", "KL (kbit/s)", "mel distance", "STFT distance", "SI-SDR (dB)"]
    print_table([*header, "training, s audio a second", "encode, times real time", "decode"], rows)


if __name__ == "__main__":
    main_or_exit(main)
