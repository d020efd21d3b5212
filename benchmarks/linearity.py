"""Linearity of an autoencoder with and without augmentation of its latents: the same data, steps and seed.

Trains `stft-vae-demo` with each form of `latent_augmentation` (Torres et al., 2025, arXiv:2510.23530). Figures are the
means over the first 4 s of the clips in `data/held_out`.

    python benchmarks/linearity.py --dataset_name outputs/lean
"""

from collections.abc import Sequence
from typing import Any

from command_line import Parser, count, main_or_exit, output_path
from measuring import print_table
from training_runs import REPO, STFT, train

from hf_audio_vae.evaluation.linearity import DISTANCE, ERROR, TRANSFORMATIONS

LINEAR: dict[str, Any] = {"gain": {}, "polarity": {}, "mix": {}}
FORMS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "gain": {"gain": {}},
    "gain, polarity, mix": LINEAR,
    "gain, polarity, mix, shift": LINEAR | {"shift": {}},
}
METRICS = {"mel_distance": "mel distance", "multi_resolution_stft": "STFT distance", "si_sdr_db": "SI-SDR (dB)"}


def main(argv: Sequence[str]) -> None:
    """Train each form, and print a table of errors and one of distances."""
    parser = Parser(__doc__)
    parser.add_argument("--dataset_name", default=str(REPO / "data/train"))
    parser.add_argument("--steps", type=count, default=1500, help="training steps of each form")
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/linearity")
    arguments = parser.parse_args(argv)
    steps = dict.fromkeys(("max_train_steps", "validation_steps", "checkpointing_steps"), arguments.steps)
    changes = {"dataset_name": arguments.dataset_name, **steps}
    figures = {}
    for index, (form, options) in enumerate(FORMS.items()):
        augmentation = {} if options is None else {"latent_augmentation": options}
        figures[form] = train(arguments.output_dir / str(index), changes | augmentation, STFT)[-1]
    titles = {name: title for name, (title, _) in TRANSFORMATIONS.items()}
    print("Of the reconstruction, and the error of the decoded latents in dB:\n")
    rows = [
        [form, *(f"{values[name]:.2f}" for name in (*METRICS, *(f"{ERROR}/{name}" for name in titles)))]
        for form, values in figures.items()
    ]
    print_table(["augmentation", *METRICS.values(), *titles.values()], rows)
    print("\nSTFT distance from the transformed sound:\n")
    columns = (DISTANCE, *(f"{DISTANCE}/{name}" for name in titles))
    rows = [[form, *(f"{values[name]:.2f}" for name in columns)] for form, values in figures.items()]
    print_table(["augmentation", "none", *titles.values()], rows)


if __name__ == "__main__":
    main_or_exit(main)
