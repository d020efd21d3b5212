"""Families on equal terms: the same data, wall time, and latent numbers a second (1000, at 16 kHz).

Each trains for `--minutes` on all threads, one after the other, with a constant learning rate and averaged weights.
Speeds of coding are medians on one thread, of the plain form.

    python benchmarks/families.py --minutes 10
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from measuring import median_seconds, print_table
from training_runs import REPO, STFT, train

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
}
COMMON: dict[str, Any] = {
    "segment_seconds": SEGMENT,
    "train_batch_size": BATCH,
    "max_train_steps": 1_000_000,
    "validation_steps": 1_000_000,
    "checkpointing_steps": 1_000_000,
    "lr_scheduler": "constant_with_warmup",
    "learning_rate": 1e-3,
    "ema_decay": 0.99,
}


def coding_speeds(folder: Path, seconds: float) -> list[float]:
    """Return how many seconds of sound a model encodes and decodes in a second on one thread."""
    torch.set_num_threads(1)
    model: Any = load_autoencoder(folder)
    waveform = torch.randn(1, 1, round(seconds * RATE)) / 10
    with torch.inference_mode():
        latents = model.encode(waveform).latent_dist.mean
        times = median_seconds(
            [lambda: model.encode(waveform).latent_dist.mean, lambda: model.decode(latents).sample], 3
        )
    return [seconds / time for time in times]


def main() -> None:
    """Train each family, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--output_dir", type=Path, default=REPO / "outputs/families")
    parser.add_argument("--families", nargs="+", choices=RUNS, default=list(RUNS))
    arguments = parser.parse_args()
    rows = []
    for name in arguments.families:
        folder = arguments.output_dir / f"{name}-{arguments.minutes:g}".replace(" ", "_")
        last = train(folder, COMMON | {"max_train_minutes": arguments.minutes} | RUNS[name], STFT)[-1]
        parameters = sum(weight.numel() for weight in load_autoencoder(folder).parameters())
        learned = last["step"] * BATCH * SEGMENT / (60 * arguments.minutes)
        columns = ("mel_distance", "multi_resolution_stft", "si_sdr_db")
        rows.append(
            [name, f"{parameters / 1e6:.2f}", f"{last['bits_per_second'] / 1000:.1f}", *(last[c] for c in columns)]
            + [learned, *coding_speeds(folder, 10.0)]
        )
    header = ["family", "M parameters", "KL (kbit/s)", "mel distance", "STFT distance", "SI-SDR (dB)"]
    print_table([*header, "training, s audio a second", "encode, times real time", "decode"], rows)


if __name__ == "__main__":
    main()
