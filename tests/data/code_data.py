from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np

from hf_audio_vae.data import CodesRecord
from hf_audio_vae.data.code_records import code_features


def codes_record(**changes: object) -> CodesRecord:
    values = {
        "model": "somebody/codec",
        "weights": "0" * 64,
        "family": "WaveformVQVAE",
        "sampling_rate": 8000,
        "audio_channels": 1,
        "hop_lengths": [80],
        "codebook_sizes": [[5, 3]],
        "hierarchical": False,
        "source": {"dataset_name": "somebody/sound"},
        "items_per_file": 4,
        "max_row_seconds": 60.0,
    }
    return CodesRecord(**values | changes)


def write_codes(folder: Path, rows: Sequence[Sequence[np.ndarray]], *, last: bool = True, **changes: object) -> Path:
    """Write rows of codes (num_codebooks, frames), one array a level, with a record that counts them."""
    record = codes_record(**changes)
    features = code_features(record.columns, [len(sizes) for sizes in record.codebook_sizes], {})
    written = []
    for i, levels in enumerate(rows):
        own = {column: codes.T.astype(np.int32) for column, codes in zip(record.columns, levels, strict=True)}
        frames = levels[-1].shape[1]
        own |= {
            "frames": frames,
            "path": f"{i}.wav",
            "start_sample": 0,
            "last": last,
            "num_samples": record.hop_lengths[-1] * frames,
        }
        written.append(own)
    (folder / "data").mkdir(parents=True)
    datasets.Dataset.from_list(written, features=features).to_parquet(folder / "data/train-00000-000000.parquet")
    counts = [
        np.bincount(np.concatenate([row[level][codebook] for row in rows]), minlength=size).tolist()
        for level, sizes in enumerate(record.codebook_sizes)
        for codebook, size in enumerate(sizes)
    ]
    seconds = sum(row["num_samples"] for row in written) / record.sampling_rate
    outcome = {"rows": len(rows), "items": len(rows), "seconds": seconds, "code_counts": counts}
    codes_record(**changes | outcome).write(folder)
    return folder
