"""A VQ-VAE with and without restarts of dead codes, with a random start, and a VAE of equal rate and shape.

All train for equal steps on the real audio of this repository. The KL of the VAE is controlled to the bit rate of the
codes.

    python benchmarks/vqvae_vs_vae.py --steps 420 --seed 0
"""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from command_line import Parser, count, main_or_exit, output_path, whole
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
    """Return the changes to the recipe of each variant."""
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
    """Return the share of used codes of each codebook on the held-out audio."""
    with contextlib.redirect_stdout(io.StringIO()):
        cli(
            [
                "inspect",
                str(folder),
                "--dataset_name",
                str(REPO / "data/held_out"),
                "--output_dir",
                str(folder),
                "--overwrite",
            ]
        )
    return json.loads((folder / "codes.json").read_text())["codebooks"]["usage"]


def main(argv: Sequence[str]) -> None:
    """Train all variants and print the tables."""
    parser = Parser(__doc__)
    parser.add_argument("--steps", type=count, default=420)
    parser.add_argument("--seed", type=whole, default=0)
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/vqvae_vs_vae")
    arguments = parser.parse_args(argv)
    recipe = yaml.safe_load((REPO / f"training/recipes/{VQVAE}.yaml").read_text())
    parent = arguments.output_dir / f"seed-{arguments.seed}-{arguments.steps}"
    common = {"max_train_steps": arguments.steps, "seed": arguments.seed}
    bits_per_second = WaveformVQVAE(WaveformVQVAEConfig(**recipe["model"])).bits_per_second
    columns: dict[str, dict[str, float]] = {}
    usage: list[list[str | float]] = []
    for name, changes in variants(recipe, bits_per_second).items():
        folder = parent / name.replace(",", "").replace(" ", "-").lower()
        columns[name] = train(folder, common | changes, VQVAE)[-1]
        if name != "VAE":
            usage.append([name, *usage_of(folder)])
    print(metrics_table(columns))
    print("\nshare of used codes of each codebook on data/held_out:\n")
    print(table(["", *(f"codebook {q}" for q in range(len(usage[0]) - 1))], usage))


if __name__ == "__main__":
    main_or_exit(main)
