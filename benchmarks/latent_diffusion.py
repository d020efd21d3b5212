"""Latent diffusion with rectified flow and with v-prediction, on the latents of `make generate`.

python benchmarks/latent_diffusion.py --steps 320

Prints the losses of both and of the linear predictor on held-out latents, before and after training. Compares the
channels of generated latents with the data: the error of the worst channel's mean, in standard deviations of the data,
and the largest ratio of standard deviations.
"""

from collections.abc import Sequence

from command_line import Parser, count, main_or_exit, output_path
from training_runs import REPO, train

from hf_audio_vae.evaluation.reports import DIFFUSION_METRICS, table

PROCESSES = ("rectified_flow", "v_prediction")


def main(argv: Sequence[str]) -> None:
    """Train missing models and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--steps", type=count, default=320)
    parser.add_argument(
        "--sounds",
        type=count,
        default=32,
        help="number of sounds to generate at the end, with the conditions of the first items",
    )
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/latent_diffusion")
    arguments = parser.parse_args(argv)
    columns: dict[str, dict[str, float]] = {}
    for process in PROCESSES:
        changes = {
            "process": process,
            "max_train_steps": arguments.steps,
            "num_validation_sounds": arguments.sounds,
            "report_to": "none",
        }
        history = train(arguments.output_dir / process, changes, "latent-diffusion-demo")
        columns |= {f"{process}, step {entry['step']:.0f}": entry for entry in (history[0], history[-1])}
    rows: list[list[str | float]] = [
        [label, *(values[name] for values in columns.values())] for name, label in DIFFUSION_METRICS.items()
    ]
    print(table(["metric", *columns], rows))


if __name__ == "__main__":
    main_or_exit(main)
