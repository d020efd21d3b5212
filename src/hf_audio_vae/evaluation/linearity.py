"""Linearity of an autoencoder: how the decoder answers gains, sums and shifts of latents."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from hf_audio_vae.evaluation.metrics import multi_resolution_stft_distance
from hf_audio_vae.evaluation.reports import table
from hf_audio_vae.latents.transformations import Gain, Mix, Shift, Transformation

SECONDS = 4.0  # of a clip that are measured
QUIET, LOUD = 10 ** (-12 / 20), 10 ** (6 / 20)


class Autoencoder(Protocol):
    """Attributes that are read from a model."""

    encode: Callable[..., Any]
    decode: Callable[..., Any]

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Number of codes of each codebook; empty if the model has latents."""

    @property
    def decodes_sample_by_sample(self) -> bool:
        """Whether one sample is drawn after another."""

    @property
    def sampling_rate(self) -> int:
        """Samples per second, in Hz."""

    @property
    def hop_length(self) -> int:
        """Samples per frame."""


TRANSFORMATIONS: dict[str, tuple[str, Callable[[int], Transformation]]] = {
    "attenuation": ("gain of -12 dB", lambda hop: Gain(torch.tensor([QUIET, QUIET]))),
    "amplification": ("gain of 6 dB", lambda hop: Gain(torch.tensor([LOUD, LOUD]))),
    "polarity": ("inverted polarity", lambda hop: Gain(torch.tensor([-1.0, -1.0]))),
    "mix": ("sum of both halves", lambda hop: Mix(torch.tensor([1, 0]), torch.ones(2))),
    "shift": ("shift by half a frame", lambda hop: Shift(torch.tensor([hop // 2, hop // 2]), hop)),
}
ERROR, DISTANCE = "linearity_error_db", "linearity_stft"  # parts of the names of figures


@torch.no_grad()
def linearity_figures(model: Autoencoder, clip: Tensor) -> dict[str, float]:
    """Measure how a decoder answers transformed latents, on the two halves of the first `SECONDS` of a clip.

    Each transformation has two figures. `ERROR` compares the decoded transformed latents with the transformed
    reconstruction: the energy of the difference in dB, relative to that of the latter. `DISTANCE` is the
    multi-resolution STFT distance from the transformed clip; without a transformation, that of the reconstruction.

    Args:
        model (`Autoencoder`): Autoencoder in evaluation mode.
        clip (`torch.Tensor` of shape `(audio_channels, time)`): Clip at the model's rate, on its device.

    Returns:
        `dict[str, float]`: Figures by name. None for a codec, for a decoder that draws sample by sample, if a half is
            shorter than 2 frames, or if a sound is silent.
    """
    if model.codebook_sizes or model.decodes_sample_by_sample:
        return {}
    half = min(round(SECONDS * model.sampling_rate), clip.shape[-1]) // 2 // model.hop_length * model.hop_length
    if half < 2 * model.hop_length:
        return {}
    waveform = torch.stack([clip[:, :half], clip[:, half : 2 * half]])  # (2, audio_channels, half)
    latents = model.encode(waveform).latent_dist.mode()
    decoded = model.decode(latents).sample
    figures = {DISTANCE: _distance(decoded, waveform)}
    for name, (_, new) in TRANSFORMATIONS.items():
        transformation = new(model.hop_length)
        answer = model.decode(transformation.latents(latents)).sample
        figures[f"{ERROR}/{name}"] = _error_db(answer, transformation.waveform(decoded))
        figures[f"{DISTANCE}/{name}"] = _distance(answer, transformation.waveform(waveform))
    return figures if all(map(math.isfinite, figures.values())) else {}


def _error_db(answer: Tensor, expected: Tensor) -> float:
    """Energy of the difference over that of the expected sound, in dB."""
    energy, error = expected.double().square().sum(), (answer - expected).double().square().sum()
    floor = torch.finfo(torch.float32).eps * energy  # rounding
    return float(10 * torch.log10((error + floor) / energy))


def _distance(answer: Tensor, expected: Tensor) -> float:
    return float(multi_resolution_stft_distance(answer.float(), expected.float()).mean())


def linearity_rows(figures: Mapping[str, float]) -> list[list[str | float]]:
    """Return the rows of `linearity_table`: title, error and distance of each transformation; none without figures."""
    if DISTANCE not in figures:
        return []
    measured: list[list[str | float]] = [
        [title, figures[f"{ERROR}/{name}"], figures[f"{DISTANCE}/{name}"]]
        for name, (title, _) in TRANSFORMATIONS.items()
    ]
    return [["none", "–", figures[DISTANCE]], *measured]


def linearity_table(rows: Sequence[Sequence[str | float]]) -> str:
    """Return the rows of `linearity_rows` as a Markdown table."""
    columns = ["transformation", "error (dB, ↓)", "multi-resolution STFT distance to the transformed sound (↓)"]
    return table(columns, rows)
