"""A WaveVAE without and with guards against posterior collapse.

python benchmarks/wavenet_collapse.py --notes outputs/notes --steps 1200
"""

import argparse
import math
import re
from pathlib import Path
from typing import Any

import yaml
from training_runs import REPO, WAVENET, train

from hf_audio_vae.evaluation.reports import table


def variants(recipe: dict[str, Any], steps: int) -> dict[str, dict[str, Any]]:
    """Return the changes to the recipe of each run; the last run has all guards of the recipe, with a shorter ramp."""
    kl = recipe["weights"]["kl"]
    full = kl["weight"]["weight"]
    late = kl["weight"] | {"start_step": steps // 6, "steps": steps // 3}
    whole_past = {"model": recipe["model"] | {"past_dropout": 0.0}}
    long_past = {"model": whole_past["model"] | {"layers_per_stack": 10}}  # 2047 samples, several periods of a note

    def weighted(weight: object) -> dict[str, Any]:
        return {"weights": recipe["weights"] | {"kl": weight}}

    return {
        "no guards": weighted(full) | long_past,
        "short past": weighted(full) | whole_past,
        "hidden past": weighted(full),
        "late KL and free bits": weighted(kl | {"weight": late}) | whole_past,
        "all guards": weighted(kl | {"weight": late}),
    }


def main() -> None:
    """Train all variants and print the table, then the last warning of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=Path, required=True, help="folder with the sound `train` and `held_out`")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--only", nargs="+", help="names of runs; default all")
    parser.add_argument("--output_dir", type=Path, default=REPO / "outputs/wavenet_collapse")
    arguments = parser.parse_args()
    recipe = yaml.safe_load((REPO / f"training/recipes/{WAVENET}.yaml").read_text())
    common = {"max_train_steps": arguments.steps, "validation_steps": arguments.steps // 4} | {
        name: str(arguments.notes.resolve() / split)
        for name, split in {"dataset_name": "train", "validation_dataset_name": "held_out"}.items()
    }
    rows, warnings = [], []
    for name, changes in variants(recipe, arguments.steps).items():
        if arguments.only and name not in arguments.only:
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
    main()
