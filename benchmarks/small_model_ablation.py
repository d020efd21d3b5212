"""Variants of the recipe of the package's VAE, `stft-vae-24khz`: the same data, seed and about the same time on a CPU.

Each variant trains for `--steps`, and one with a discriminator for half of them, since its steps are assumed to take
twice as long. The rate is that of entropy-coded latents (step 3.46).

    python benchmarks/small_model_ablation.py --dataset_name outputs/excerpts --steps 1200

A variant that is finished is read from its folder, an interrupted one is resumed.
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from command_line import Parser, count, main_or_exit, output_path
from training_runs import REPO, SMALL, train

from hf_audio_vae.data import clip_starts, load_audio_stream
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.evaluation.reports import METRICS, table
from hf_audio_vae.latents import code_latents, decode_latents
from hf_audio_vae.models import load_autoencoder

RECIPE = yaml.safe_load((REPO / f"training/recipes/{SMALL}.yaml").read_text())
LOSSES, WEIGHTS = RECIPE["losses"], RECIPE["weights"]
GAME: dict[str, Any] = {
    "adversarial": {
        "discriminators": {"multi_scale_stft": {"hidden_channels": 16, "window_lengths": [1024, 512, 256]}},
        "learning_rate": 8.0e-4,
    },
    "weights": WEIGHTS | {"adversarial": 0.1, "feature_matching": 5.0},
}
# Changes of the recipe, and the assumed time of a step in units of that of the recipe; a discriminator doubles it.
VARIANTS: dict[str, tuple[dict[str, Any], float]] = {
    "recipe": ({}, 1.0),
    "16 latent channels": ({"model": RECIPE["model"] | {"latent_channels": 16}}, 1.0),
    "64 latent channels": ({"model": RECIPE["model"] | {"latent_channels": 64}}, 1.0),
    "128 latent channels": ({"model": RECIPE["model"] | {"latent_channels": 128}}, 1.0),
    "KL weight x 0.2": ({"weights": WEIGHTS | {"kl": 2.0e-5}}, 1.0),
    "KL weight x 5": ({"weights": WEIGHTS | {"kl": 5.0e-4}}, 1.0),
    "no complex STFT": (
        {
            "losses": {name: options for name, options in LOSSES.items() if name != "complex_stft"},
            "weights": {name: weight for name, weight in WEIGHTS.items() if name != "complex_stft"},
        },
        1.0,
    ),
    "linearity augmentation": ({"latent_augmentation": {"gain": {}, "polarity": {}, "mix": {}}}, 1.0),
    "discriminator": (GAME, 2.0),
}
COLUMNS = ("mel_distance", "multi_resolution_stft", "si_sdr_db")
STEP = 3.46


@torch.no_grad()
def figures(folder: Path, dataset: str, every: int) -> dict[str, float]:
    """Measure the coded latents of a model on the start of each n-th item of the split `test`."""
    model = load_autoencoder(folder).eval()
    rows, bits, seconds = [], 0.0, 0.0
    stream = load_audio_stream(dataset, split="test")
    clips = clip_starts(stream, sampling_rate=model.sampling_rate, audio_channels=1, max_seconds=8.0)
    for _, clip in itertools.islice(clips, None, None, every):
        posterior: Any = model.encode(clip[None]).latent_dist
        coded = code_latents(posterior.mean[0], posterior.std[0], relative_step=STEP)
        sound = model.decode(decode_latents(coded)[None]).sample[..., : clip.shape[-1]]
        rows.append(measure(sound, clip[None], {}, model.sampling_rate))
        bits += 8 * coded.num_bytes
        seconds += clip.shape[-1] / model.sampling_rate
    return mean_metrics(rows) | {"kbits": bits / seconds / 1000}


def main(argv: Sequence[str]) -> None:
    """Train the variants, and print a row for each."""
    parser = Parser(__doc__)
    parser.add_argument("--dataset_name", required=True, help="folder with the splits train, validation and test")
    parser.add_argument("--steps", type=count, default=1200, help="training steps of the recipe")
    parser.add_argument("--every", type=count, default=20, help="measure every n-th item of the split `test`")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/small_model_ablation")
    arguments = parser.parse_args(argv)
    rows: list[list[str | float]] = []
    for name in arguments.variants:
        changes, cost = VARIANTS[name]
        steps = round(arguments.steps / cost)
        data = {"dataset_name": arguments.dataset_name, "validation_dataset_name": arguments.dataset_name}
        timing = {"max_train_steps": steps, "validation_steps": steps}
        folder = arguments.output_dir / f"{arguments.steps}-{name.replace(' ', '_')}"
        train(folder, data | timing | changes, SMALL)
        found = figures(folder, arguments.dataset_name, arguments.every)
        rows.append([name, str(steps), found["kbits"], *(found[column] for column in COLUMNS)])
        print(table(["variant", "steps", "kbit/s", *(METRICS[column] for column in COLUMNS)], rows), flush=True)


if __name__ == "__main__":
    main_or_exit(main)
