"""A TokenVAE without and with guards against posterior collapse, and both ways of conditioning, beside a GPT-2.

python benchmarks/token_vae.py --codes outputs/codes
python benchmarks/token_vae.py --recipe tokenvae-midi --codes outputs/scores
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from command_line import Parser, main_or_exit, output_path, splits_folder
from safetensors.torch import load_file
from training_runs import REPO, train

from hf_audio_vae.evaluation.reports import table

COLUMNS = {
    "elbo_nats_per_code": "-ELBO",
    "nats_per_code": "own latents",
    "nats_per_code_of_other_latents": "another's",
    "latent_gain": "gain",
    "kl_nats": "KL",
    "mutual_information": "MI",
    "active_units": "active",
}
NAMES = ("no guards, in-attention", "cyclical KL, in-attention", "all guards, in-attention", "all guards, prefix")
PLAIN = {"kl_weight": 1.0, "word_dropout": 0.0}


def variants(recipe: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the changes to a recipe of each run; the recipe itself has all guards."""
    prefix = {"model": recipe["model"] | {"conditioning": "prefix"}}
    in_attention = {"model": recipe["model"] | {"conditioning": "in_attention"}}
    annealed = {"kl_weight": recipe["kl_weight"]["weight"], "word_dropout": 0.0}
    changes = (in_attention | PLAIN, in_attention | annealed, in_attention, prefix)
    return dict(zip(NAMES, changes, strict=True))


def plain_language_model(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a GPT-2 with as many layers as encoder and decoder together, without latents, and no VAE's options."""
    decoder = {name: value for name, value in recipe["decoder"].items() if name != "model_type"}
    decoder["n_layer"] += recipe["encoder"]["num_hidden_layers"]
    own = {"encoder", "decoder", "model", "kl_weight", "word_dropout"}
    return {name: value for name, value in recipe.items() if name not in own} | {"model": decoder}


def row(name: str, folder: Path, history: Sequence[Mapping[str, float]]) -> list[str | float]:
    """Return a row of the table, with the last metrics of a run and the number of warnings in its log."""
    size = sum(weight.numel() for weight in load_file(folder / "model.safetensors").values()) / 1e6
    warnings = (folder / "log.txt").read_text().count("the decoder ignores the latents")
    values: list[str | float] = [history[-1].get(key, "–") for key in COLUMNS]
    return [name, f"{size:.2f} M", *values, f"{warnings} of {len(history) - 1}"]


def main(argv: Sequence[str]) -> None:
    """Train all variants and print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--recipe", default="tokenvae-codes", choices=("tokenvae-codes", "tokenvae-midi"))
    parser.add_argument(
        "--codes", type=splits_folder, required=True, help="folder with the codes `train` and `held_out`"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="names of runs")
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/token_vae")
    arguments = parser.parse_args(argv)
    recipe = yaml.safe_load((REPO / f"training/recipes/{arguments.recipe}.yaml").read_text())
    data = {"dataset_name": "train", "validation_dataset_name": "held_out"}
    data = {name: str(arguments.codes.resolve() / split) for name, split in data.items()}
    rows = []
    for name, changes in variants(recipe).items():
        if name in arguments.only:
            folder = arguments.output_dir / re.sub(r"\W+", "_", f"{arguments.recipe} {name}")
            rows.append(row(name, folder, train(folder, changes | data, arguments.recipe)))
    folder = arguments.output_dir / re.sub(r"\W+", "_", f"{arguments.recipe} gpt2")
    history = train(folder, plain_language_model(recipe) | data, "token-prior-demo")
    history = [values | {"elbo_nats_per_code": values["nats_per_code"]} for values in history]
    alone = [{key: value for key, value in values.items() if key != "nats_per_code"} for values in history]
    rows.append(row("GPT-2 without latents", folder, alone))
    print(table(["run", "parameters", *COLUMNS.values(), "warnings"], rows))
    print(f"\nunigram baseline: {history[-1]['memoryless_nats_per_code']:.3f} nats a code")


if __name__ == "__main__":
    main_or_exit(main)
