"""Measurement of models with a denoiser for each model and seed. Each result is kept in a file."""

import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from hf_audio_vae.comparison.diffusability.budget import Budget
from hf_audio_vae.comparison.diffusability.denoising import denoising_errors, trained_denoiser
from hf_audio_vae.comparison.diffusability.latents import EncodedClips, encoded
from hf_audio_vae.comparison.diffusability.results import Diffusability, Measured
from hf_audio_vae.comparison.diffusability.sounds import References, generated_sounds
from hf_audio_vae.comparison.systems import ModelSystem
from hf_audio_vae.files import make_folder, replacing
from hf_audio_vae.files.json_files import read_json

Clips = Callable[[int, int], Iterable[tuple[str, Tensor]]]  # rate in Hz, channels -> names and waveforms
RUNS = "runs"


@dataclass(frozen=True)
class _Latents:
    train: EncodedClips
    held_out: EncodedClips
    statistics: tuple[Tensor, Tensor]


def measure_diffusability(
    systems: Sequence[ModelSystem],
    train: Clips,
    references: Callable[[], References],
    *,
    seeds: int = 3,
    budget: Budget | None = None,
    folder: Path | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> Diffusability:
    """Train a denoiser on the latents of each model with each seed. Measure its errors and the generated sounds.

    Args:
        systems (`Sequence[ModelSystem]`): Models with latents, in evaluation mode.
        train (`Callable`): ``train(sampling_rate, audio_channels)`` yields name and waveform of each training clip.
        references (`Callable`): Returns the held-out originals. It is only called if a measurement is missing.
        seeds (`int`): Number of seeds, 2 or more: 0, 1, ...
        budget (`Budget`, *optional*): Amounts of training and of sound.
        folder (`Path`, *optional*): Folder with a file per result. A repeated call continues from these files.
        announce (`Callable`): Function that gets a line of text before each training.

    Raises:
        ValueError: A model has codes, there are too few seeds, or there are no clips.
    """
    check_systems(systems)
    if seeds < 2:
        raise ValueError(f"`seeds` is {seeds}; give 2 or more, since an interval needs several.")
    kept, references = _Kept(folder), functools.cache(references)
    measured = {}
    for system in systems:
        model = _Model(system, train, references, budget or Budget(), announce)
        ceiling = kept.figures(system, "reconstructions", model.reconstructed)
        runs = [kept.figures(system, f"seed {seed}", functools.partial(model.learnt, seed)) for seed in range(seeds)]
        measured[system.name] = Measured(runs, ceiling, model.numbers_per_second)
    return Diffusability(measured)


def check_systems(systems: Sequence[ModelSystem]) -> None:
    """Raise `ValueError` unless all models have latents."""
    for system in systems:
        if system.model.codebook_sizes:
            raise ValueError(f"{system.name} has codes, which have no denoiser; name models with latents.")


class _Model:
    """Measures a model. The clips are encoded when they are first needed."""

    def __init__(
        self,
        system: ModelSystem,
        train: Clips,
        references: Callable[[], References],
        budget: Budget,
        announce: Callable[[str], None],
    ) -> None:
        self.system, self.references = system, references
        self._train, self._budget, self._announce = train, budget, announce

    @property
    def numbers_per_second(self) -> float:
        """Latent numbers a second."""
        model: Any = self.system.model
        return float(model.latent_channels * model.frame_rate)

    def reconstructed(self) -> dict[str, float]:
        """Return the distances of the reconstructions of the held-out pieces."""
        references = self.references()
        rate = references.held_out.sampling_rate
        sounds = [self.system.code(piece, rate).waveform for piece in references.held_out.pieces]
        return references.compare(sounds, paired=True)

    def learnt(self, seed: int) -> dict[str, float]:
        """Train a denoiser. Return its figures and the distances of the sounds that it generates."""
        model, budget, latents, references = self.system.model, self._budget, self._latents, self.references()
        self._announce(f"{self.system.name}: seed {seed}, {budget.steps} steps")
        denoiser = trained_denoiser(
            latents.train,
            steps=budget.steps,
            batch=budget.batch,
            frames=max(1, round(budget.crop_seconds * model.frame_rate)),
            seed=seed,
            device=model.device,
        )
        errors = denoising_errors(denoiser, latents.held_out, seed)
        sounds = generated_sounds(
            self.system, denoiser, latents.statistics, references.held_out, steps=budget.sampler_steps, seed=seed
        )
        kilo = self.numbers_per_second / 1000
        return {
            "gain_bits": errors.gain_bits,
            "gain_kbits": errors.gain_bits * kilo,
            "learnt_kbits": errors.learnt_bits * kilo,
            **references.compare(sounds),
        }

    @functools.cached_property
    def _latents(self) -> _Latents:
        model = self.system.model
        clips = encoded(model, self._training_clips())
        held_out = encoded(model, self.references().held_out.for_model(self.system))
        statistics = clips.statistics()
        return _Latents(clips.normalised(*statistics), held_out.normalised(*statistics), statistics)

    def _training_clips(self) -> Iterator[tuple[str, Tensor]]:
        rate = self.system.model.sampling_rate
        left = round(self._budget.training_seconds * rate)
        for name, clip in self._train(rate, self.system.model.config.audio_channels):
            if clip.shape[1] > left:
                self._announce(f"training uses at most the first {self._budget.training_seconds:.0f} s of sound")
                return
            left -= clip.shape[1]
            yield name, clip


class _Kept:
    """Figures that are measured once and kept in files.

    Args:
        folder (`Path`, *optional*): Folder of the files. Nothing is kept without it.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            make_folder(folder / RUNS)

    def figures(self, system: ModelSystem, part: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return the figures of a part from its file. If there is no file, measure them and write it."""
        if self.folder is None:
            return measure()
        code = hashlib.sha256(system.identity.encode()).hexdigest()[:16]
        path = self.folder / RUNS / f"{code} {part}.json"
        if not path.is_file():
            figures = measure()
            with replacing(path) as hidden:
                hidden.write_text(
                    json.dumps({"model": system.name, "part": part, "figures": figures}, indent=2) + "\n"
                )
        found: dict[str, float] = read_json(path)["figures"]
        return found
