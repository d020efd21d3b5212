"""A VQ-VAE with restarts of dead codes, without, and started at random, beside the VAE of equal rate and shape.

All train for equal steps on the real audio of this repository. The VAE's KL is led to the bits a second that the codes
take.

    python benchmarks/vqvae_vs_vae.py --steps 420 --seed 0
"""

import argparse
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import yaml
from training_runs import REPO, VQVAE, train

from hf_audio_vae import WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.cli.main import main as cli
from hf_audio_vae.evaluation.reports import metrics_table, table

SHAPE_OF_VAE = {
    "encoder_hidden_size": 16,
    "downsampling_ratios": [2, 4, 4],
    "channel_multiples": [2, 4, 8],
    "decoder_channels": 16,
    "decoder_input_channels": 8,
    "audio_channels": 1,
    "sampling_rate": 16000,
}


def variants(recipe: dict[str, Any], bits_per_second: float) -> dict[str, dict[str, Any]]:
    """Changes to the recipe, by name."""
    no_restarts = recipe["model"] | {"restart_share": None}
    kl = {"target_bits_per_second": bits_per_second, "weight": 3e-3}
    weights = {name: weight for name, weight in recipe["weights"].items() if name != "commitment"} | {"kl": kl}
    return {
        "VQ-VAE": {},
        "no restarts": {"model": no_restarts},
        "no restarts, random start": {"model": no_restarts | {"kmeans_start": False}},
        "VAE": {"family": "WaveformVAE", "model": SHAPE_OF_VAE, "weights": weights},
    }


def usage_of(folder: Path) -> list[float]:
    """Share of codes that are used, of each codebook, on all of the held-out sound."""
    with contextlib.redirect_stdout(io.StringIO()):
        cli(["inspect", str(folder), "--dataset_name", str(REPO / "data/held_out"), "--output_dir", str(folder)])
    return json.loads((folder / "codes.json").read_text())["codebooks"]["usage"]


def main() -> None:
    """Train all, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=420)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, default=REPO / "outputs/vqvae_vs_vae")
    arguments = parser.parse_args()
    recipe = yaml.safe_load((REPO / f"training/recipes/{VQVAE}.yaml").read_text())
    place = arguments.output_dir / f"seed-{arguments.seed}-{arguments.steps}"
    common = {"max_train_steps": arguments.steps, "seed": arguments.seed}
    bits_per_second = WaveformVQVAE(WaveformVQVAEConfig(**recipe["model"])).bits_per_second
    columns: dict[str, dict[str, float]] = {}
    usage: list[list[str | float]] = []
    for name, changes in variants(recipe, bits_per_second).items():
        folder = place / name.replace(",", "").replace(" ", "-").lower()
        columns[name] = train(folder, common | changes, VQVAE)[-1]
        if name != "VAE":
            usage.append([name, *usage_of(folder)])
    print(metrics_table(columns))
    print("\nshare of each codebook's codes that the sound in data/held_out uses:\n")
    print(table(["", *(f"codebook {q}" for q in range(len(usage[0]) - 1))], usage))


if __name__ == "__main__":
    main()
