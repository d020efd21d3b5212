"""Losses with phase, one at a time, on a VAE on STFT frames: the same data, steps and seed.

python benchmarks/loss_ablation.py --steps 500

Printed with 500 steps on one thread:

| losses                      | KL (kbit/s) | SI-SDR (dB, ↑) | multi-resolution STFT (↓) | mel distance (↓) |
|-----------------------------|------------:|---------------:|--------------------------:|-----------------:|
| magnitudes                  |       6.012 |        -31.893 |                     2.255 |            2.463 |
| + waveform L1               |       6.213 |        -26.429 |                     2.267 |            2.462 |
| + complex STFT              |       5.947 |        -32.174 |                     2.287 |            2.494 |
| + phase derivatives         |       6.167 |        -37.725 |                     2.276 |            2.466 |
| + waveform L1, complex STFT |       6.022 |        -25.070 |                     2.282 |            2.484 |
"""

from collections.abc import Sequence
from typing import Any

from command_line import Parser, count, main_or_exit, output_path
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


def main(argv: Sequence[str]) -> None:
    """Train every variant, and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--steps", type=count, default=500)
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/loss_ablation")
    arguments = parser.parse_args(argv)
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
    main_or_exit(main)
