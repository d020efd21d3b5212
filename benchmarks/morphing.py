"""Sounds between two sounds: interpolation of latents against a cross-fade of the waveforms.

All pairs of files, cut to one length, are interpolated in 9 steps and embedded. Cross-fades add the reconstructions,
with the same weights or with ratios that are even in dB. The table has means over the pairs, and standard deviations
in parentheses:

- largest step: largest distance of neighbouring sounds over the mean of these distances; 1 is an even path
- detour: sum of the distances of neighbours over the distance of both ends; 1 is a straight path
- middle: distance of the sound halfway from the mean of both ends, over the distance of both ends
- click: of one sound that moves from the first to the last, the largest spectral flux above 6 kHz over the largest of
  both ends; above 1, there is an event that neither of them has

python benchmarks/morphing.py --sounds data/held_out
"""

import statistics
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import torch
from command_line import Parser, amount, count, input_folder, main_or_exit
from torch import Tensor

from hf_audio_vae.audio import convert_channels, read_audio, resample
from hf_audio_vae.evaluation.embeddings import Embedding, embed, embedding_of
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.files.location import DEFAULT_MODEL
from hf_audio_vae.latents import ALIGNMENTS, morphs, moving_morph
from hf_audio_vae.models import load_autoencoder

STEPS = 9
KINDS = {  # in latents, by name: alignment and method; sounds of one length need no stretching
    "linear": ("stretch", "linear"),
    "spherical": ("stretch", "spherical"),
    "linear, warp": ("warp", "linear"),
    "spherical, warp": ("warp", "spherical"),
}
CROSS_FADES = {"cross-fade": None, "cross-fade, even in dB": 9.0}  # dB per step
FLUX_WINDOW, FLUX_HOP, FLUX_HZ = 1024, 256, 6000


def cross_fades(first: Tensor, last: Tensor, *, db_per_step: float | None = None) -> tuple[list[Tensor], Tensor]:
    """Return the weighted sums of two waveforms, and one that moves from the first to the last.

    Weights are even, or between the ends, their ratio is even in dB.
    """
    steps, moving = torch.arange(STEPS), torch.linspace(0, STEPS - 1, first.shape[-1])
    weights = [position / (STEPS - 1) for position in (steps, moving)]
    if db_per_step is not None:
        ratios = [10 ** (db_per_step / 20 * (position - (STEPS - 1) / 2)) for position in (steps, moving)]
        weights = [ratio / (1 + ratio) for ratio in ratios]
        weights[0][0], weights[0][-1] = 0, 1
    return [torch.lerp(first, last, weight) for weight in weights[0]], torch.lerp(first, last, weights[1])


def latent_paths(
    model: Any, latents: Sequence[Tensor], align: str, method: str, time: int
) -> tuple[list[Tensor], Tensor]:
    """Return the sounds at even weights between latents, (audio_channels, time) each, and one that moves."""
    alignment = ALIGNMENTS[align](latents)
    path = [morph.latents for morph in morphs(alignment, len(latents), STEPS, method=method)]
    *sounds, moving = (model.decode(z).sample[0, :, :time] for z in (*path, moving_morph(alignment, method=method)))
    return sounds, moving


def path_figures(points: Tensor) -> tuple[float, float, float]:
    """Return the largest step, the detour and the distance of the middle of a path of embeddings, (steps, dim)."""
    steps = [float((after - before).norm()) for before, after in pairwise(points)]
    ends = float((points[-1] - points[0]).norm())
    middle = float((points[len(points) // 2] - (points[0] + points[-1]) / 2).norm())
    return max(steps) / statistics.mean(steps), sum(steps) / ends, middle / ends


def largest_flux(waveform: Tensor, sampling_rate: int) -> float:
    """Return the largest rise of the magnitudes above 6 kHz from one spectrum to the next, without the edges."""
    window = torch.hann_window(FLUX_WINDOW)
    spectra = torch.stft(waveform.mean(dim=0), FLUX_WINDOW, FLUX_HOP, window=window, return_complex=True).abs()
    high = spectra[round(FLUX_HZ * FLUX_WINDOW / sampling_rate) :]
    return float(high.diff(dim=-1).clamp(min=0).sum(dim=0)[4:-4].max())


def embedded(embedding: Embedding, sounds: Sequence[Tensor], sampling_rate: int) -> Tensor:
    """Return the mean embedding of each sound, (sounds, dim)."""
    return torch.stack([embed(embedding, sound, sampling_rate).mean(dim=0) for sound in sounds])


def measure(model: Any, pair: Sequence[Tensor], embeddings: Sequence[Embedding]) -> dict[str, list[float]]:
    """Return the figures of each kind of interpolation between two waveforms of one length."""
    time, rate = pair[0].shape[-1], model.sampling_rate
    latents = [model.encode(waveform[None]).latent_dist.mode() for waveform in pair]
    ends = [model.decode(z).sample[0, :, :time] for z in latents]
    loudest = max(largest_flux(end, rate) for end in ends)
    paths = {name: latent_paths(model, latents, *kind, time) for name, kind in KINDS.items()}
    figures: dict[str, list[float]] = {}
    fades = {name: cross_fades(*ends, db_per_step=db_per_step) for name, db_per_step in CROSS_FADES.items()}
    for name, (sounds, moving) in {**paths, **fades}.items():
        distances = [path_figures(embedded(embedding, sounds, rate)) for embedding in embeddings]
        figures[name] = [value for values in distances for value in values] + [largest_flux(moving, rate) / loudest]
    return figures


@torch.no_grad()
def main(argv: Sequence[str]) -> None:
    """Print the table."""
    parser = Parser(__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--sounds", type=input_folder, required=True, help="folder of sounds that were not trained on")
    parser.add_argument("--seconds", type=amount, default=2.0, help="length of the sounds at most")
    parser.add_argument("--max_pairs", type=count, help="default: all pairs")
    arguments = parser.parse_args(argv)
    files = sorted(path for path in arguments.sounds.rglob("*") if path.suffix in (".flac", ".ogg", ".wav"))
    if len(files) < 2:
        raise ValueError(f"{arguments.sounds} has {len(files)} sounds; name a folder with two or more.")
    model: Any = load_autoencoder(arguments.model).eval()
    if model.codebook_sizes:
        raise ValueError(f"{arguments.model} has codes and no latents; name a VAE.")
    model.fuse()
    rate, channels = model.sampling_rate, model.config.audio_channels
    waveforms = [convert_channels(resample(*read_audio(path), rate), channels) for path in files]
    embeddings = [embedding_of("log_mel", sampling_rate=rate), embedding_of("musicnn")]
    rows: dict[str, list[list[float]]] = {name: [] for name in (*KINDS, *CROSS_FADES)}
    pairs = list(combinations(waveforms, 2))[: arguments.max_pairs]
    for pair in pairs:
        time = min(*(waveform.shape[-1] for waveform in pair), round(arguments.seconds * rate))
        for name, values in measure(model, [waveform[:, :time] for waveform in pair], embeddings).items():
            rows[name].append(values)
    figures = ("largest step", "detour", "middle")
    header = [f"{embedding.name}: {figure}" for embedding in embeddings for figure in figures] + ["click", "at most"]
    cells = []
    for name, found in rows.items():
        columns = [list(column) for column in zip(*found, strict=True)]
        means = [f"{statistics.mean(column):.2f} ({statistics.pstdev(column):.2f})" for column in columns]
        cells.append([name, *means, f"{max(columns[-1]):.2f}"])
    print(table([f"{len(pairs)} pairs of {len(files)} sounds", *header], cells))


if __name__ == "__main__":
    main_or_exit(main)
