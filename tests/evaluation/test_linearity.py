"""Linearity of decoders whose answer is known."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hf_audio_vae.evaluation.linearity import DISTANCE, ERROR, linearity_figures, linearity_rows, linearity_table

RATE, HOP = 4000, 8


class Frames:
    """Latents are the samples of each frame; `power` bends what is decoded."""

    sampling_rate, hop_length = RATE, HOP
    codebook_sizes: tuple[int, ...] = ()
    decodes_sample_by_sample = False

    def __init__(self, power: float = 1.0, scale: float = 1.0) -> None:
        self.power, self.scale = power, scale

    def encode(self, x: torch.Tensor) -> Any:
        latents = x.unflatten(-1, (-1, HOP)).mT.flatten(1, 2)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))

    def decode(self, z: torch.Tensor) -> Any:
        samples = z.unflatten(1, (-1, HOP)).mT.flatten(-2)
        return SimpleNamespace(sample=self.scale * samples.sign() * samples.abs() ** self.power)


@pytest.fixture
def clip() -> torch.Tensor:
    return 0.1 * torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(0))


def test_a_linear_autoencoder_has_no_error_but_for_interpolated_shifts(clip: torch.Tensor) -> None:
    figures = linearity_figures(Frames(), clip)
    exact = ("attenuation", "amplification", "polarity", "mix")
    assert all(figures[f"{ERROR}/{name}"] < -60 and figures[f"{DISTANCE}/{name}"] < 1e-3 for name in exact)
    assert figures[f"{ERROR}/shift"] > -3  # the interpolation of noise is not its shift


def test_a_wrong_level_is_a_distance_and_no_error(clip: torch.Tensor) -> None:
    figures = linearity_figures(Frames(scale=0.5), clip)
    assert figures[f"{ERROR}/mix"] < -60
    assert figures[f"{DISTANCE}/mix"] == pytest.approx(figures[DISTANCE], rel=0.01)
    assert figures[DISTANCE] > 0.5


def test_the_error_of_a_bent_decoder_is_that_of_its_formula(clip: torch.Tensor) -> None:
    figures = linearity_figures(Frames(power=0.5), clip)
    for name, decibels in (("attenuation", -12), ("amplification", 6)):
        factor = 10 ** (decibels / 20)
        expected = 20 * torch.log10(torch.tensor(abs(factor**0.5 - factor) / factor))
        assert figures[f"{ERROR}/{name}"] == pytest.approx(float(expected), abs=0.01)
    assert figures[f"{ERROR}/polarity"] < -60  # the root is odd
    assert figures[f"{ERROR}/mix"] > -20


def test_codecs_and_slow_decoders_are_not_measured(clip: torch.Tensor) -> None:
    codec, wavenet = Frames(), Frames()
    codec.codebook_sizes, wavenet.decodes_sample_by_sample = (8,), True
    assert linearity_figures(codec, clip) == linearity_figures(wavenet, clip) == {}


def test_short_and_silent_clips_have_no_figures(clip: torch.Tensor) -> None:
    assert linearity_figures(Frames(), clip[:, : 4 * HOP - 1]) == {}
    assert linearity_figures(Frames(), clip[:, : 4 * HOP]) != {}
    assert linearity_figures(Frames(), torch.zeros(1, RATE)) == {}


def test_the_table_has_a_row_for_each_transformation(clip: torch.Tensor) -> None:
    lines = linearity_table(linearity_rows(linearity_figures(Frames(), clip))).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "none",
        "gain of -12 dB",
        "gain of 6 dB",
        "inverted polarity",
        "sum of both halves",
        "shift by half a frame",
    ]
    assert linearity_rows({}) == []
