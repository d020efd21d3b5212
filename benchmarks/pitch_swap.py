"""Pitch of notes whose latents change to those of another note halfway, by the pitch tracker of librosa.

Also prints the pitch of the draft, if the model has one, and the likelihood of notes given their own latents and given
those of another note.

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


def swap(
    model: Any, notes: Sequence[Tensor], temperature: float
) -> tuple[dict[str, Tensor], list[tuple[float, float]]]:
    """Generate a note whose latents change halfway.

    Args:
        model (`WaveVAE`): Model.
        notes (`Sequence[torch.Tensor]`): Two notes (1, time), of equal length.
        temperature (`float`): Factor of the spread of drawn samples.

    Returns:
        Sounds (time,) by name; the mean negative log-likelihood of each note in nats per sample, given its own latents
        and those of the other note.
    """
    half = notes[0].shape[-1]
    latents = [model.encode(note[None]).latent_dist.mode() for note in notes]
    swapped = torch.cat(latents, dim=-1)
    sound = model.generate(swapped, temperature=temperature)[0, 0]
    sounds = {"first half": sound[:half], "after the change": sound[half:]}
    if (draft := model.draft(swapped)) is not None:
        sounds["draft after the change"] = draft[0, 0, half:]
    likelihoods = [
        (float(model.nll(own, note[None]).mean()), float(model.nll(other, note[None]).mean()))
        for own, other, note in zip(latents, latents[::-1], notes, strict=True)
    ]
    return sounds | {"note itself": notes[1][0]}, likelihoods


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
    parser.add_argument("--temperature", type=amount, default=1.0, help="factor of the spread of drawn samples")
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
    rate = model.sampling_rate
    half = round(arguments.seconds * rate / model.hop_length) * model.hop_length
    pairs = pairs_of(sorted(arguments.notes.rglob("*.flac")), arguments.pairs, arguments.seed)
    likelihoods: list[tuple[float, float]] = []  # given the latents of the note, and of the other one
    rows: dict[str, list[tuple[float, float]]] = {}
    for index, pair in enumerate(pairs):
        notes = [resample(*read_audio(path), rate)[:, :half] for path in pair]
        sounds, own_and_other = swap(model, notes, arguments.temperature)
        likelihoods += own_and_other
        first, second = (named_pitch(path) for path in pair)
        for name, sound in sounds.items():
            rows.setdefault(name, []).append((first if name == "first half" else second, pitch(sound, rate)))
        if arguments.output_dir is not None:
            arguments.output_dir.mkdir(parents=True, exist_ok=True)
            sound = torch.cat([sounds["first half"], sounds["after the change"]])
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
