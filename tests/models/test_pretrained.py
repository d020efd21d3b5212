"""The models of this package reach the figures of their cards."""

import re
from pathlib import Path

import pytest
import torch

from hf_audio_vae.data import clip_starts, load_audio_stream
from hf_audio_vae.evaluation.health import health_of
from hf_audio_vae.evaluation.metrics import mean_metrics, measure
from hf_audio_vae.evaluation.reports import CODE_METRICS, LATENT_METRICS, METRICS
from hf_audio_vae.files.location import DEFAULT_MODEL, PRETRAINED
from hf_audio_vae.models import load_autoencoder

HELD_OUT = Path(__file__).parents[2] / "data/held_out"


MODELS = (DEFAULT_MODEL, "codec-24khz")
RATES = {"bits_per_second": LATENT_METRICS, "entropy_bits_per_second": CODE_METRICS}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_model_reaches_the_figures_of_its_card(name: str) -> None:
    model, rows = load_autoencoder(name), []
    health = health_of(model)
    clips = clip_starts(load_audio_stream(str(HELD_OUT)), sampling_rate=24000, audio_channels=1, max_seconds=4)
    for _, clip in clips:
        output = model(clip[None])
        rows.append(measure(output.sample, clip[None], output.losses, 24000))
        health.add(output)
    card = (PRETRAINED / name / "README.md").read_text()
    figures = mean_metrics(rows) | health.summary()
    for metric, label in {**METRICS, **{rate: labels[rate] for rate, labels in RATES.items()}}.items():
        if metric in figures:
            (stated,) = re.findall(rf"^\| {re.escape(label)} +\| +([-\d.]+) \|$", card, flags=re.MULTILINE)
            assert figures[metric] == pytest.approx(float(stated), rel=0.01, abs=0.02), label


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_are_small_and_whole(name: str) -> None:
    folder = PRETRAINED / name
    assert sum(path.stat().st_size for path in folder.iterdir()) < 20e6
    model = load_autoencoder(name)
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    assert model.dtype == torch.float32
