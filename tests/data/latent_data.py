"""Small data sets of latents, whose values tell which row and which frame they are of."""

from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np

from hf_audio_vae.data.latent_records import LatentsRecord, latent_features

CHANNELS = 3


def record(**changes: object) -> LatentsRecord:
    values = {
        "model": "somebody/vae",
        "weights": "0" * 64,
        "family": "WaveformVAE",
        "sampling_rate": 8000,
        "audio_channels": 1,
        "hop_length": 80,
        "latent_channels": CHANNELS,
        "source": {"dataset_name": "somebody/sound"},
        "items_per_file": 4,
        "max_row_seconds": 60.0,
    }
    return LatentsRecord(**values | changes)


def write_latents(folder: Path, lengths: Sequence[int], others: dict[str, tuple[object, list]] | None = None) -> Path:
    """Write row `i` of `lengths[i]` frames; frame `t` of its mean is 1000 * i + t in every channel, its std 0.5."""
    others = others or {}
    features = latent_features(CHANNELS, {name: feature for name, (feature, _) in others.items()})
    rows = []
    for i, frames in enumerate(lengths):
        mean = np.repeat(1000.0 * i + np.arange(frames, dtype=np.float32)[:, None], CHANNELS, axis=1)
        own = {"mean": mean, "std": np.full_like(mean, 0.5), "frames": frames, "path": f"{i}.wav"}
        own |= {"start_sample": 0, "num_samples": 80 * frames}
        rows.append(own | {name: values[i] for name, (_, values) in others.items()})
    (folder / "data").mkdir(parents=True)
    datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "data/train-00000-000000.parquet")
    record().write(folder)
    return folder
