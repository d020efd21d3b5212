"""A WaveVAE without and with guards against posterior collapse.

python benchmarks/wavenet_collapse.py --notes outputs/notes --steps 1200
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import yaml
from command_line import Parser, count, main_or_exit, output_path, splits_folder
from training_runs import REPO, WAVENET, train

from hf_audio_vae.evaluation.reports import table

NAMES = ("no guards", "short past", "hidden past", "late KL and free bits", "all guards")


def variants(recipe: dict[str, Any], steps: int) -> dict[str, dict[str, Any]]:
    """Return the changes to the recipe of each run; the last run has all guards of the recipe, with a shorter ramp."""
    kl = recipe["weights"]["kl"]
    full = kl["weight"]["weight"]
    late = kl["weight"] | {"start_step": steps // 6, "steps": steps // 3}
    whole_past = {"model": recipe["model"] | {"past_dropout": 0.0}}
    long_past = {"model": whole_past["model"] | {"layers_per_stack": 10}}  # 2047 samples, several periods of a note

    def weighted(weight: object) -> dict[str, Any]:
        return {"weights": recipe["weights"] | {"kl": weight}}

    plain, guarded = weighted(full), weighted(kl | {"weight": late})
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
    recipe = yaml.safe_load((REPO / f"training/recipes/{WAVENET}.yaml").read_text())
    common = {"max_train_steps": arguments.steps, "validation_steps": arguments.steps // 4} | {
        name: str(arguments.notes.resolve() / split)
        for name, split in {"dataset_name": "train", "validation_dataset_name": "held_out"}.items()
    }
    rows, warnings = [], []
    for name, changes in variants(recipe, arguments.steps).items():
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
