"""Attributes of notes in the latents of VAEs: disentanglement by the weight of the KL, and arithmetic.

Trains `spectrogram-vae-notes`, which has one latent vector for a note, on the notes of docs/wavevae.md, with four
weights of the KL. With beta = 1, the loss is the ELBO of a Laplace distribution with a scale of 1 nat in each mel bin.
Latents and labels (pitch, velocity, instrument) are those of held-out notes.

Then adds directions of pitch and velocity, from the labels of the training notes, to the latents of held-out notes. A
pitch tracker, and a random forest from log-mel levels to velocity that was fitted on the training notes, judge the
decoded sound.

    pip install "hf-audio-vae[latents]" librosa
    python benchmarks/note_attributes.py --notes outputs/notes
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from command_line import Parser, count, input_folder, main_or_exit, output_path
from measuring import print_table
from pitch_swap import named_pitch, pitch
from torch import Tensor
from training_runs import NOTES, REPO, train

from hf_audio_vae.audio.io import read_audio, write_audio
from hf_audio_vae.evaluation.disentanglement import dci, mutual_information_gap, separated_attribute_predictability
from hf_audio_vae.evaluation.embeddings import embed, embedding_of
from hf_audio_vae.latents.attributes import AttributeVector, mean_latents, regression
from hf_audio_vae.models.fingerprint import model_fingerprint
from hf_audio_vae.models.registry import load_autoencoder

BETAS = (0.25, 1.0, 4.0, 16.0)
ELBO = 1 / (64 * 128)  # frames and mel bins of a note
STRENGTHS = {"pitch": (-6.0, -3.0, 0.0, 3.0, 6.0), "velocity": (-50.0, -25.0, 0.0, 25.0, 50.0)}
SEGMENT = 16384  # samples, of the recipe


class Notes:
    """Notes of a folder with their labels.

    Args:
        folder (`Path`): Folder of files such as `flute/flute-060-100.flac`.
        sampling_rate (`int`): Their rate in Hz.
    """

    def __init__(self, folder: Path, sampling_rate: int) -> None:
        files = note_files(folder)
        self.names = [path.stem for path in files]
        self.pitches = [float(named_pitch(path)) for path in files]
        self.velocities = [float(path.stem.split("-")[2]) for path in files]
        self.instruments = [path.stem.split("-")[0] for path in files]
        sounds = [read_audio(path) for path in files]
        if wrong := {rate for _, rate in sounds} - {sampling_rate}:
            raise ValueError(f"{folder} has notes at {wrong.pop()} Hz; make them at {sampling_rate} Hz.")
        self.waveforms = torch.stack([fitted(waveform) for waveform, _ in sounds])  # (notes, 1, SEGMENT)

    def attributes(self) -> dict[str, Sequence[float | str]]:
        """Return the labels by name."""
        return {"pitch": self.pitches, "velocity": self.velocities, "instrument": self.instruments}


def note_files(folder: Path) -> list[Path]:
    """Return the notes of a folder; raises `ValueError` if there are none."""
    files = sorted(folder.glob("*/*-*-*.flac"))
    if not files:
        raise ValueError(f"{folder} has no notes such as flute/flute-060-100.flac; name a corpus of notes.py.")
    return files


def fitted(waveform: Tensor) -> Tensor:
    """Cut or pad a note to a segment, (1, time) -> (1, SEGMENT)."""
    return F.pad(waveform[:, :SEGMENT], (0, max(SEGMENT - waveform.shape[-1], 0)))


def latents_of(model: Any, waveforms: Tensor) -> Tensor:
    """Encode notes, (notes, 1, SEGMENT) -> means (notes, latent_channels, frames)."""
    return torch.cat([model.encode(batch).latent_dist.mode() for batch in waveforms.split(32)])


def trained(arguments: Any, beta: float) -> Any:
    """Return the model that was trained with a weight of the KL."""
    changes = {
        "dataset_name": str(arguments.notes / "train"),
        "validation_dataset_name": str(arguments.notes / "held_out"),
        "max_train_steps": arguments.steps,
        "validation_steps": arguments.steps,
        "weights": {"spectrogram": 1.0, "kl": {"schedule": "linear", "weight": beta * ELBO, "steps": 200}},
    }
    folder = arguments.output_dir / f"beta-{beta:g}"
    train(folder, changes, NOTES)
    return load_autoencoder(str(folder)).eval()


def disentanglement_row(model: Any, notes: Notes) -> dict[str, float]:
    """Return distance of spectrograms, KL, active channels and the three scores on held-out notes."""
    posteriors = [model.encode(batch).latent_dist for batch in notes.waveforms.split(32)]
    latents = mean_latents(torch.cat([posterior.mode() for posterior in posteriors]))
    kl = torch.cat([posterior.kl() for posterior in posteriors])  # (notes, latent_channels, frames)
    distance = np.mean([float(model(batch).losses["spectrogram"]) for batch in notes.waveforms.split(32)])
    attributes = notes.attributes()
    gaps, separated = (
        mutual_information_gap(latents, attributes),
        separated_attribute_predictability(latents, attributes),
    )
    disentanglement, completeness, scores = dci(latents, attributes)
    return {
        "spectrogram L1": float(distance),
        "KL (bits a note)": float(kl.sum(dim=(1, 2)).mean()) / np.log(2),
        "active channels": float((latents.var(dim=0) >= 0.01).sum()),
        "MIG": float(np.mean(list(gaps.values()))),
        "SAP": float(np.mean(list(separated.values()))),
        "DCI disentanglement": disentanglement,
        "DCI completeness": completeness,
        **{f"{name} from latents": value for name, value in scores.items()},
    }


class VelocityJudge:
    """A random forest from mean log-mel levels to velocity.

    Args:
        notes (`Notes`): Training notes.
        sampling_rate (`int`): In Hz.
    """

    def __init__(self, notes: Notes, sampling_rate: int) -> None:
        from sklearn.ensemble import RandomForestRegressor

        self._embedding = embedding_of("log_mel", sampling_rate=sampling_rate)
        self._rate = sampling_rate
        features = [self._features(waveform) for waveform in notes.waveforms]
        self._forest = RandomForestRegressor(100, random_state=0).fit(features, notes.velocities)

    def __call__(self, waveform: Tensor) -> float:
        """Return the velocity of a note (1, time)."""
        return float(self._forest.predict([self._features(waveform)])[0])

    def _features(self, waveform: Tensor) -> np.ndarray:
        return embed(self._embedding, waveform, self._rate).mean(dim=0).numpy()


def directions(model: Any, notes: Notes) -> dict[str, AttributeVector]:
    """Return the directions of pitch and velocity, each with the other held constant."""
    labels = torch.tensor([notes.pitches, notes.velocities]).T
    found = regression(mean_latents(latents_of(model, notes.waveforms)), labels)
    weights = model_fingerprint(model)
    return {name: AttributeVector(name, row.float(), weights) for name, row in zip(STRENGTHS, found, strict=True)}


def arithmetic_rows(
    model: Any, waveforms: Tensor, vectors: dict[str, AttributeVector], judge: VelocityJudge
) -> list[Any]:
    """Return medians over notes of what the judges hear, for each attribute and strength."""
    rate, latents = model.sampling_rate, latents_of(model, waveforms)
    rows: list[Any] = []
    first: dict[str, np.ndarray] = {}
    for name, strengths in STRENGTHS.items():
        for strength in (0.0, *(value for value in strengths if value)):
            sounds = [model.decode(vectors[name].apply(z[None], strength)).sample[0] for z in latents]
            heard = np.array([[pitch(s[0], rate), judge(s), level_db(s)] for s in sounds])
            first = {name: heard} if not strength else first
            change = np.nanmedian(heard - first[name], axis=0)
            rows.append((name, strength, *change, float(np.isfinite(heard[:, 0]).mean())))
    return sorted(rows, key=lambda row: (list(STRENGTHS).index(row[0]), row[1]))


def level_db(waveform: Tensor) -> float:
    """Return the power in dB."""
    return float(10 * torch.log10(waveform.square().mean() + 1e-12))


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Train, and print both tables."""
    parser = Parser(__doc__)
    parser.add_argument("--notes", type=input_folder, required=True, help="corpus of training/corpora/notes.py")
    parser.add_argument("--steps", type=count, default=1000, help="training steps of each model")
    parser.add_argument("--num_notes", type=count, default=24, help="held-out notes that are changed")
    parser.add_argument("--beta", type=float, default=1.0, choices=BETAS, help="model of the arithmetic")
    parser.add_argument("--output_dir", type=output_path, default=REPO / "outputs/note_attributes")
    arguments = parser.parse_args(argv)
    for package, extra in (("librosa", "librosa"), ("sklearn", "'hf-audio-vae[latents]'")):
        if find_spec(package) is None:
            parser.exit(2, f"error: the figures need {package}; install it with `pip install {extra}`.\n")
    for part in ("train", "held_out"):  # refused before the first run
        note_files(arguments.notes / part)
    models = {}
    for beta in BETAS:
        with torch.enable_grad():
            models[beta] = trained(arguments, beta)
    rate = models[1.0].sampling_rate
    training, held_out = Notes(arguments.notes / "train", rate), Notes(arguments.notes / "held_out", rate)
    rows = {beta: disentanglement_row(model, held_out) for beta, model in models.items()}
    names = list(rows[1.0])
    print_table(
        ["beta", *names], [[f"{beta:g}", *(f"{row[name]:.3f}" for name in names)] for beta, row in rows.items()]
    )
    picture(rows).savefig(arguments.output_dir / "disentanglement.png", dpi=110)

    model = models[arguments.beta]
    judge, vectors = VelocityJudge(training, rate), directions(model, training)
    errors = np.array([judge(waveform) for waveform in held_out.waveforms]) - held_out.velocities
    print(f"\nThe judge of velocity errs by {np.median(np.abs(errors)):.1f} (median, held-out notes).\n")
    step = max(len(held_out.names) // arguments.num_notes, 1)
    chosen = held_out.waveforms[::step][: arguments.num_notes]
    header = ["direction", "strength", "pitch (semitones)", "velocity", "level (dB)", "share with a pitch"]
    found = arithmetic_rows(model, chosen, vectors, judge)
    print_table(header, [[name, f"{s:+g}", *(f"{value:.2f}" for value in values)] for name, s, *values in found])
    for name, vector in vectors.items():
        for strength in STRENGTHS[name]:
            latents = vector.apply(latents_of(model, chosen[:1]), strength)
            write_audio(arguments.output_dir / f"{name}{strength:+g}.wav", model.decode(latents).sample[0], rate)


def picture(rows: dict[float, dict[str, float]]) -> Any:
    """Plot the scores over the weight of the KL."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for name in ("MIG", "SAP", "DCI disentanglement", "DCI completeness"):
        axes.plot(list(rows), [row[name] for row in rows.values()], ".-", label=name)
    axes.set(xscale="log", xlabel="beta", ylabel="score", xticks=list(rows), xticklabels=[f"{b:g}" for b in rows])
    axes.legend()
    return figure


if __name__ == "__main__":
    main_or_exit(main)
