"""Latent diffusion by rectified flow and by v-prediction, on the latents that `make generate` leaves.

python benchmarks/latent_diffusion.py --steps 320

Prints the loss of both on held-out latents and that of the linear predictor, before and after training, and compares
the channels of generated latents with the data: the error of the worst channel's mean, in standard deviations of the
data, and the largest ratio of standard deviations.
"""

import argparse
from pathlib import Path

from training_runs import REPO, train

from hf_audio_vae.evaluation.reports import DIFFUSION_METRICS, table

PROCESSES = ("rectified_flow", "v_prediction")


def main() -> None:
    """Train what is not trained yet, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--sounds", type=int, default=32, help="generated at the end, like the first of the data")
    parser.add_argument("--output_dir", type=Path, default=REPO / "outputs/latent_diffusion")
    arguments = parser.parse_args()
    columns: dict[str, dict[str, float]] = {}
    for process in PROCESSES:
        changes = {
            "process": process,
            "max_train_steps": arguments.steps,
            "num_validation_sounds": arguments.sounds,
            "report_to": "none",
        }
        history = train(arguments.output_dir / process, changes, "latent-diffusion-demo")
        columns |= {f"{process}, step {row['step']:.0f}": row for row in (history[0], history[-1])}
    rows: list[list[str | float]] = [
        [label, *(row[name] for row in columns.values())] for name, label in DIFFUSION_METRICS.items()
    ]
    print(table(["metric", *columns], rows))


if __name__ == "__main__":
    main()
