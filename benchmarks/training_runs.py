"""Named runs of the training scripts. Finished runs are read from disk, interrupted ones are resumed."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).parents[1]
DEMO, STFT, VQVAE, WAVENET = "waveform-vae-demo", "stft-vae-demo", "vqvae-demo", "wavevae-16khz"
NOTES, SMALL = "spectrogram-vae-notes", "stft-vae-24khz"
# Crops and rates of the published tables, which `waveform-vae-demo` had then.
PUBLISHED = {"segment_seconds": 0.5, "learning_rate": 3e-3, "lr_warmup_steps": 20, "ema_decay": 0.98}
AUTOENCODER = "train_autoencoder.py"
SCRIPTS = {
    DEMO: AUTOENCODER,
    STFT: AUTOENCODER,
    VQVAE: AUTOENCODER,
    WAVENET: AUTOENCODER,
    NOTES: AUTOENCODER,
    SMALL: AUTOENCODER,
    "latent-diffusion-demo": "train_latent_diffusion.py",
    "token-prior-demo": "train_token_prior.py",
    "tokenvae-codes": "train_token_vae.py",
    "tokenvae-midi": "train_token_vae.py",
}


def train(output_dir: Path, changes: Mapping[str, Any], recipe_name: str = DEMO) -> list[dict[str, float]]:
    """Train a changed recipe; return the metrics of every validation.

    Args:
        output_dir (`Path`): Folder of the run.
        changes (`Mapping`): Values that replace those of the recipe, including whole sections.
        recipe_name (`str`): A key of `SCRIPTS`.

    Raises:
        ValueError: The folder holds a run of another recipe, or the run refuses the recipe.
        SystemExit: The run failed.
    """
    recipe = yaml.safe_load((REPO / f"training/recipes/{recipe_name}.yaml").read_text())
    recipe |= {"max_train_minutes": None} | (PUBLISHED if recipe_name == DEMO else {}) | dict(changes)
    text = yaml.safe_dump(recipe | {"output_dir": str(output_dir), "resume_from_checkpoint": "latest"})
    path = output_dir / "run.yaml"
    if path.exists() and path.read_text() != text:
        raise ValueError(f"{output_dir} holds a run of another recipe; remove it, or choose another --output_dir.")
    if not (output_dir / "metrics.json").exists():
        output_dir.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        script = [sys.executable, str(REPO / "training" / SCRIPTS[recipe_name]), "--config", str(path)]
        with (output_dir / "log.txt").open("a") as log:
            finished = subprocess.run(script, cwd=REPO, stdout=log, stderr=log)
        check_finished(finished, output_dir)
    return json.loads((output_dir / "metrics.json").read_text())


def check_finished(run: subprocess.CompletedProcess[bytes], folder: Path) -> None:
    """Check that a run whose log is in a folder has finished; see `train` for what it raises."""
    if run.returncode:
        last = (folder / "log.txt").read_text(errors="replace").strip().rpartition("\n")[2]
        message = f"the run in {folder} failed: {last}"
        raise ValueError(message) if run.returncode == 2 else SystemExit(message)
