"""The same VAE trained with and without discriminators for equal steps, on the real audio of this repository.

python benchmarks/vae_vs_vae_gan.py --steps 1500 --seed 0
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from command_line import Parser, count, input_file, main_or_exit, output_path, whole
from matplotlib.figure import Figure
from torch import Tensor
from training_runs import REPO, train

from hf_audio_vae.audio import convert_channels, read_audio, resample
from hf_audio_vae.audio.spectrogram import log_spectrogram
from hf_audio_vae.evaluation.reports import metrics_table
from hf_audio_vae.models import load_autoencoder

ADVERSARIAL = {
    "discriminators": {"multi_scale_stft": {"hidden_channels": 16, "window_lengths": [1024, 512, 256]}},
    "learning_rate": 1e-3,
}
RECONSTRUCTION = {"waveform_l1": 50.0, "multi_resolution_stft": 1.0, "kl": 1e-4}
GAME = RECONSTRUCTION | {"adversarial": 0.1, "feature_matching": 5.0}  # Stable Audio's proportions


@torch.no_grad()
def picture(clip: Path, models: dict[str, Path]) -> Figure:
    """Plot spectrograms of a clip and of its reconstruction by each model."""
    waveforms: dict[str, Tensor] = {}
    for name, folder in models.items():
        model = load_autoencoder(folder)
        waveform, sampling_rate = read_audio(clip)
        waveform = resample(convert_channels(waveform, 1), sampling_rate, model.sampling_rate)
        waveforms |= {"original": waveform[0]} if not waveforms else {}
        waveforms[name] = model(waveform[None]).sample[0, 0]
    figure = Figure(figsize=(9, 2.3 * len(waveforms)), layout="constrained")
    panels = figure.subplots(len(waveforms), 1, sharex=True, sharey=True)
    loudest = log_spectrogram(waveforms["original"], 512).max()
    extent = (0.0, len(waveforms["original"]) / model.sampling_rate, 0.0, model.sampling_rate / 2000)
    for panel, (name, waveform) in zip(panels, waveforms.items(), strict=True):
        level = (log_spectrogram(waveform, 512) - loudest).numpy()
        image = panel.imshow(level, origin="lower", aspect="auto", extent=extent, vmin=-60.0, vmax=0.0, cmap="magma")
        panel.set_ylabel(f"{name}\nkHz")
    panels[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=panels, label="dB below the original's peak")
    figure.suptitle(clip.stem)
    return figure


def main(argv: Sequence[str]) -> None:
    """Train both models, print the table, and plot the spectrograms."""
    parser = Parser(__doc__)
    parser.add_argument("--steps", type=count, default=1500)
    parser.add_argument("--seed", type=whole, default=0)
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/vae_vs_vae_gan")
    parser.add_argument("--clip", type=input_file, default=REPO / "data/held_out/speech_en_0890.flac")
    parser.add_argument("--picture", type=output_path, help="default: vae_vs_vae_gan.png in the runs' folder")
    arguments = parser.parse_args(argv)
    common = {"max_train_steps": arguments.steps, "seed": arguments.seed, "ema_decay": 0.99}
    variants = {
        "VAE": common | {"weights": RECONSTRUCTION},
        "VAE-GAN": common | {"weights": GAME, "adversarial": ADVERSARIAL},
    }
    folder = arguments.output_dir / f"seed-{arguments.seed}"
    folders = {name: folder / f"{name.lower()}-{arguments.steps}" for name in variants}
    print(metrics_table({name: train(folders[name], changes)[-1] for name, changes in variants.items()}))
    target = arguments.picture or folder / "vae_vs_vae_gan.png"
    picture(arguments.clip, folders).savefig(target, dpi=110)
    print(f"picture: {target}")


if __name__ == "__main__":
    main_or_exit(main)
