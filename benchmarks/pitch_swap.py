"""Pitch of notes whose latents change to those of another note halfway, by the pitch tracker of librosa.

Also prints the likelihood of notes given their own latents and given those of another note.

pip install librosa
python benchmarks/pitch_swap.py --model outputs/wavevae-16khz --notes outputs/notes/held_out
"""

import random
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command_line import Parser, amount, count, input_folder, main_or_exit, output_path, whole
from matplotlib.figure import Figure
from torch import Tensor

from hf_audio_vae import WaveVAE
from hf_audio_vae.audio.io import read_audio, write_audio
from hf_audio_vae.audio.resampling import resample
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.models.registry import load_autoencoder


def pitch(waveform: Tensor, sampling_rate: int) -> float:
    """Return the median pitch of (time,) as a MIDI number, NaN without any, by pYIN (Mauch and Dixon, 2014)."""
    import librosa

    lowest, highest = librosa.note_to_hz("C2"), librosa.note_to_hz("C7")
    frequency, _, _ = librosa.pyin(
        waveform.numpy(), fmin=lowest, fmax=highest, sr=sampling_rate, frame_length=sampling_rate // 16
    )
    found = frequency[np.isfinite(frequency)]
    return float(np.median(librosa.hz_to_midi(found))) if len(found) else float("nan")


def named_pitch(path: Path) -> int:
    """Return the pitch in a file name such as `flute-060-100.flac`."""
    parts = path.stem.split("-")
    if len(parts) < 2 or not parts[1].isdigit():
        raise ValueError(f"{path} has no pitch in its name, as flute-060-100.flac has; name a folder of notes.")
    return int(parts[1])


def pairs_of(files: Sequence[Path], count: int, seed: int) -> list[tuple[Path, Path]]:
    """Return random pairs of different pitch; raises `ValueError` if there are none."""
    if len({named_pitch(path) for path in files}) < 2:
        raise ValueError("the notes have one pitch, or there are none; name a folder with notes of several pitches.")
    random_source = random.Random(seed)
    pairs: list[tuple[Path, Path]] = []
    while len(pairs) < count:
        first, second = random_source.sample(files, 2)
        if named_pitch(first) != named_pitch(second):
            pairs.append((first, second))
    return pairs


def picture(targets: np.ndarray, measured: np.ndarray) -> Figure:
    """Plot the measured pitch over the pitch of the note whose latents it has."""
    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    limits = [targets.min() - 2, targets.max() + 2]
    axes.plot(limits, limits, color="0.8", linewidth=1)
    axes.plot(targets, measured, ".")
    axes.set(xlabel="pitch of the latents' note (MIDI)", ylabel="tracked pitch after the change (MIDI)", xlim=limits)
    return figure


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Print the shares of pairs whose pitch follows the latents."""
    parser = Parser(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--notes", type=input_folder, required=True, help="folder of notes that were not trained on")
    parser.add_argument("--pairs", type=count, default=50)
    parser.add_argument("--seconds", type=amount, default=0.5, help="length of each of the two notes")
    parser.add_argument("--seed", type=whole, default=0)
    parser.add_argument("--output_dir", type=output_path, help="folder for the sounds and the picture")
    arguments = parser.parse_args(argv)
    if find_spec("librosa") is None:
        parser.exit(2, "error: the pitch tracker needs librosa; install it with `pip install librosa`.\n")
    loaded = load_autoencoder(arguments.model)
    if not isinstance(loaded, WaveVAE):
        raise ValueError(f"{arguments.model} is a {type(loaded).__name__}; name a WaveVAE.")
    model: Any = loaded.eval()
    model.fuse()
    rate, frames = model.sampling_rate, round(arguments.seconds * model.sampling_rate / model.hop_length)
    half = frames * model.hop_length
    pairs = pairs_of(sorted(arguments.notes.rglob("*.flac")), arguments.pairs, arguments.seed)
    likelihoods: list[tuple[float, float]] = []  # given the latents of the note, and of the other one
    rows: dict[str, list[tuple[float, float]]] = {"first half": [], "after the change": [], "note itself": []}
    for index, pair in enumerate(pairs):
        notes = [resample(*read_audio(path), rate)[:, :half] for path in pair]
        latents = torch.stack([model.encode(note[None]).latent_dist.mode()[0, :, :frames] for note in notes])
        sound = model.decode(torch.cat(latents.unbind(), dim=-1)[None]).sample[0, 0]
        first, second = (named_pitch(path) for path in pair)
        likelihoods += [
            tuple(float(model.nll(given[None], note[None]).mean()) for given in (own, other))
            for own, other, note in zip(latents, latents.flip(0), notes, strict=True)
        ]
        rows["first half"].append((first, pitch(sound[:half], rate)))
        rows["after the change"].append((second, pitch(sound[half:], rate)))
        rows["note itself"].append((second, pitch(notes[1][0], rate)))
        if arguments.output_dir is not None:
            arguments.output_dir.mkdir(parents=True, exist_ok=True)
            write_audio(arguments.output_dir / f"{index:02d}-{pair[0].stem}-to-{pair[1].stem}.wav", sound[None], rate)
    cells = []
    for name, found in rows.items():
        distance = np.abs(np.subtract(*np.array(found).T))
        octaves = np.abs(distance - 12 * np.round(distance / 12))
        cells.append([name, *(f"{np.mean(values < 0.5):.0%}" for values in (distance, octaves))])
    print(table([f"{len(pairs)} pairs of held-out notes", "within half a semitone", "or in another octave"], cells))
    own, other = np.mean(likelihoods, axis=0)
    print(
        f"\nnegative log-likelihood (nats a sample): {own:.3f} given the latents of a note, {other:.3f} of the other"
    )
    if arguments.output_dir is not None:
        picture(*np.array(rows["after the change"]).T).savefig(arguments.output_dir / "pitch_swap.png", dpi=110)


if __name__ == "__main__":
    main_or_exit(main)
