"""Losses with phase, one at a time, on a VAE on STFT frames: the same data, steps and seed.

python benchmarks/loss_ablation.py --steps 600
"""

import argparse
from pathlib import Path
from typing import Any

from training_runs import REPO, STFT, train

from hf_audio_vae.evaluation.reports import METRICS, table

MAGNITUDES = {"multi_resolution_stft": ({"window_lengths": [1024, 256, 64]}, 1.0)}
PHASES: dict[str, dict[str, tuple[dict[str, Any], float]]] = {
    "magnitudes": {},
    "+ waveform L1": {"waveform_l1": ({}, 10.0)},
    "+ complex STFT": {"complex_stft": ({"window_lengths": [1024, 256]}, 5.0)},
    "+ phase derivatives": {"phase_derivatives": ({"window_lengths": [1024, 256]}, 1.0)},
    "+ waveform L1, complex STFT": {
        "waveform_l1": ({}, 10.0),
        "complex_stft": ({"window_lengths": [1024, 256]}, 5.0),
    },
}
COLUMNS = ("si_sdr_db", "multi_resolution_stft", "mel_distance")


def main() -> None:
    """Train every variant, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--output_dir", type=Path, default=REPO / "outputs/loss_ablation")
    arguments = parser.parse_args()
    length = {"max_train_steps": arguments.steps, "validation_steps": arguments.steps}
    rows = []
    for name, phase in PHASES.items():
        terms = MAGNITUDES | phase
        changes = {
            "losses": {term: options for term, (options, _) in terms.items()},
            "weights": {term: weight for term, (_, weight) in terms.items()} | {"kl": 1e-4},
        }
        folder = arguments.output_dir / f"{'_'.join(terms)}-{arguments.steps}"
        last = train(folder, length | changes, STFT)[-1]
        rows.append([name, last["bits_per_second"] / 1000, *(last[column] for column in COLUMNS)])
    print(table(["losses", "KL (kbit/s)", *(METRICS[column] for column in COLUMNS)], rows))


if __name__ == "__main__":
    main()
