"""A training run of a recipe for the remaining time."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu.setting import Part, Setting, SkippedError, Table

from hf_audio_vae.models import load_autoencoder

REPO = Path(__file__).parents[2]
MARGIN_S = 45.0  # for the start, the last validation and the files
SHARD = "16MB"


def run(setting: Setting, recipe: str, options: Sequence[str]) -> Iterator[Part]:
    """Train a recipe.

    Args:
        setting (`Setting`): Device and deadline.
        recipe (`str`): Name of a file in `training/recipes`, without its suffix.
        options (`Sequence[str]`): Further options of the training script.
    """
    yield lambda: train(setting, recipe, options)


def train(setting: Setting, recipe: str, options: Sequence[str]) -> Table:
    """Train from scratch, write the model in files of at most 16 MB, and return the metrics."""
    seconds = 8.0 if setting.dry_run else setting.seconds_left - MARGIN_S
    if seconds < 5:
        raise SkippedError(f"{setting.seconds_left:.0f} s are left, too little time to train.")
    out = setting.output_dir / "trained"
    shutil.rmtree(out, ignore_errors=True)
    tiny = ["--max_train_steps", "4", "--max_validation_samples", "1", "--validation_seconds", "0.5"]
    command = [
        *(sys.executable, str(REPO / "training/train_autoencoder.py")),
        *("--config", str(REPO / f"training/recipes/{recipe}.yaml"), "--output_dir", str(out.resolve())),
        *("--max_train_minutes", str(seconds / 60), "--report_to", "none"),
        *(tiny if setting.dry_run else []),
        *options,
    ]
    started = time.monotonic()
    finished = subprocess.run(command, cwd=REPO, capture_output=True, text=True)
    elapsed = time.monotonic() - started
    (setting.output_dir / "train.log").write_text(finished.stdout + finished.stderr)
    if finished.returncode:
        raise RuntimeError("training failed: " + finished.stderr.strip().rpartition("\n")[2])
    model = load_autoencoder(out)
    model.save_pretrained(out / "model", max_shard_size=SHARD)
    history = json.loads((out / "metrics.json").read_text())
    rows: list[list[str | float]] = [
        [name, *(f"{metrics[name]:.4g}" for metrics in (history[0], history[-1]))] for name in history[0]
    ]
    rows.append(["files of the model, MB", "", ", ".join(f"{size:.1f}" for size in file_sizes(out / "model"))])
    return Table(f"Training of {recipe}, {elapsed:.0f} s with start and validations", ["", "before", "after"], rows)


def file_sizes(folder: Path) -> list[float]:
    """Return the sizes of the weight files in MB."""
    return [path.stat().st_size / 1e6 for path in sorted(folder.glob("*.safetensors"))]
