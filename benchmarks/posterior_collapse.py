"""Posterior collapse with a KL weight that is far too high, and schedules and controls that prevent it.

python benchmarks/posterior_collapse.py --steps 300 --weight 0.5
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from command_line import Parser, amount, count, main_or_exit, output_path
from matplotlib.figure import Figure
from training_runs import REPO, train

from hf_audio_vae.evaluation.reports import METRICS, table

WEIGHTS = {"waveform_l1": 50.0, "multi_resolution_stft": 1.0}
COLUMNS = ("si_sdr_db", "multi_resolution_stft", "mel_distance")
History = Sequence[Mapping[str, float]]


def kl_weights(weight: float, steps: int) -> dict[str, Any]:
    """Return `weights.kl` of each run."""
    rise = 3 * steps // 4
    return {
        "the recipe's weight": 1e-4,
        "too high": weight,
        "too high, linear": {"schedule": "linear", "weight": weight, "steps": rise},
        "too high, cosine": {"schedule": "cosine", "weight": weight, "steps": rise},
        "too high, free bits": {"free_bits": 2.0, "weight": weight},
        "too high, capacity": {"capacity_nats": 12.0, "steps": rise, "weight": weight},
        "led to 12 kbit/s": {"target_bits_per_second": 12000, "weight": weight},
    }


def picture(histories: Mapping[str, History]) -> Figure:
    """Plot active share and KL by step."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    share, rate = figure.subplots(1, 2)
    for name, history in histories.items():
        steps = [metrics["step"] for metrics in history]
        share.plot(steps, [metrics["active_share"] for metrics in history], label=name, marker=".")
        rate.plot(steps, [metrics["bits_per_second"] / 1000 for metrics in history], marker=".")
    share.set(xlabel="step", ylabel="active share of latent channels", ylim=(-0.05, 1.05))
    rate.set(xlabel="step", ylabel="KL in kbit/s", yscale="symlog")
    figure.legend(loc="outside lower center", ncols=4, fontsize="small")
    return figure


def main(argv: Sequence[str]) -> None:
    """Train all variants, print the table and the warnings, and plot the histories."""
    parser = Parser(__doc__)
    parser.add_argument("--steps", type=count, default=300)
    parser.add_argument("--weight", type=amount, default=0.5)
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/posterior_collapse")
    parser.add_argument("--picture", type=output_path, help="default: posterior_collapse.png in the output folder")
    arguments = parser.parse_args(argv)
    length = {"max_train_steps": arguments.steps, "validation_steps": arguments.steps // 8, "validation_seconds": 2.0}
    histories, rows, last_warnings = {}, [], []
    for name, kl in kl_weights(arguments.weight, arguments.steps).items():
        folder = arguments.output_dir / f"{name.replace(' ', '_').replace('/', '_')}-{arguments.steps}"
        histories[name] = train(folder, length | {"weights": WEIGHTS | {"kl": kl}})
        last = histories[name][-1]
        warnings = re.findall("the latents collapse: .*", (folder / "log.txt").read_text())
        rows.append(
            [
                name,
                f"{last['active_share']:.0%}",
                last["bits_per_second"] / 1000,
                *(last[column] for column in COLUMNS),
            ]
        )
        last_warnings += [f"{name}: {warnings[-1]}"] if warnings else []
    print(table(["KL weight", "active channels", "kbit/s", *(METRICS[column] for column in COLUMNS)], rows))
    print("\n".join(["", "the last warning of each run that has one:", *last_warnings]))
    path = arguments.picture or arguments.output_dir / "posterior_collapse.png"
    picture(histories).savefig(path, dpi=110)
    print(f"picture: {path}")


if __name__ == "__main__":
    main_or_exit(main)
