"""A WaveVAE without and with guards against posterior collapse.

python benchmarks/wavenet_collapse.py --notes outputs/notes --steps 1200
"""

import math
import re
from collections.abc import Sequence
from typing import Any

from command_line import Parser, count, main_or_exit, output_path, splits_folder
from training_runs import REPO, WAVENET, train

from hf_audio_vae.evaluation.reports import table

NAMES = ("no guards", "short past", "hidden past", "late KL and free bits", "all guards")
# Without a draft, which trains on losses of waveforms that hold the latents in use.
MODEL = {
    "sampling_rate": 16000,
    "downsampling_ratios": [320],
    "window_length": 1024,
    "hidden_size": 64,
    "unit_dilations": [1, 2],
    "latent_channels": 16,
    "residual_channels": 32,
    "skip_channels": 64,
    "num_stacks": 2,
    "layers_per_stack": 5,  # 63 samples, less than a period of most notes
    "distribution": "logistic_mixture",
    "num_components": 5,
    "past_dropout": 0.3,
}
OTHER_CHANGES = {"losses": {}, "segment_seconds": 0.08, "learning_rate": 3e-3}
FREE_BITS = 0.5  # nats of each channel
FULL_WEIGHT = 1 / 320  # a frame has 320 samples: the ELBO


def variants(steps: int) -> dict[str, dict[str, Any]]:
    """Return the changes to the recipe of each run; the last run has all guards."""
    late = {"schedule": "linear", "weight": FULL_WEIGHT, "start_step": steps // 6, "steps": steps // 3}
    whole_past = {"model": MODEL | {"past_dropout": 0.0}}
    long_past = {"model": whole_past["model"] | {"layers_per_stack": 10}}  # 2047 samples, several periods of a note

    def weighted(weight: object) -> dict[str, Any]:
        return OTHER_CHANGES | {"model": MODEL, "weights": {"nll": 1.0, "kl": weight}}

    plain, guarded = weighted(FULL_WEIGHT), weighted({"free_bits": FREE_BITS, "weight": late})
    runs = (plain | long_past, plain | whole_past, plain, guarded | whole_past, guarded)
    return dict(zip(NAMES, runs, strict=True))


def main(argv: Sequence[str]) -> None:
    """Train all variants and print the table, then the last warning of each run."""
    parser = Parser(__doc__)
    parser.add_argument(
        "--notes", type=splits_folder, required=True, help="folder with the sound `train` and `held_out`"
    )
    parser.add_argument("--steps", type=count, default=1200)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="names of runs")
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/wavenet_collapse")
    arguments = parser.parse_args(argv)
    common = {"max_train_steps": arguments.steps, "validation_steps": arguments.steps // 4} | {
        name: str(arguments.notes.resolve() / split)
        for name, split in {"dataset_name": "train", "validation_dataset_name": "held_out"}.items()
    }
    rows, warnings = [], []
    for name, changes in variants(arguments.steps).items():
        if name not in arguments.only:
            continue
        folder = arguments.output_dir / re.sub(r"\W+", "_", f"{name} {arguments.steps}")
        history = train(folder, common | changes, WAVENET)
        found = re.findall("the latents collapse: .*", (folder / "log.txt").read_text())
        last = history[-1]
        rows.append([name, last["kl"] / math.log(2), f"{last['active_share']:.0%}", len(found)])
        warnings += [f"{name}: {found[-1]}"] if found else []
    print(table(["run", "bits a frame", "active channels", "warnings"], rows))
    print("\n".join(["", "the last warning of each run that has one:", *warnings]))


if __name__ == "__main__":
    main_or_exit(main)
