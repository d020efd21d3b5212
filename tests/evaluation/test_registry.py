"""One list of metrics for code, tables and documentation."""

import math
from importlib.util import find_spec

import pytest
import torch

from hf_audio_vae.evaluation import registry
from hf_audio_vae.evaluation.metrics import mean_metrics, reconstruction_metrics
from hf_audio_vae.evaluation.registry import (
    RECONSTRUCTION_METRICS,
    SIGNAL_METRICS,
    VALIDATION_METRICS,
    measure_reconstruction,
)
from hf_audio_vae.evaluation.reports import METRICS
from tests.evaluation.test_metrics import noise, sound

AVAILABLE = [
    name for name, metric in RECONSTRUCTION_METRICS.items() if metric.package is None or find_spec(metric.package)
]


def test_validation_computes_the_first_three_and_no_more() -> None:
    values = reconstruction_metrics(noise(1, 1, 3000), noise(1, 1, 3000, seed=1), 16000)
    assert tuple(values) == VALIDATION_METRICS == tuple(RECONSTRUCTION_METRICS)[:3]


def test_the_registry_and_validation_agree() -> None:
    target, sampling_rate = sound("loop_breakbeat.flac")
    estimate = target + 0.01 * noise(*target.shape)
    (row,) = measure_reconstruction(estimate, target, sampling_rate, names=VALIDATION_METRICS)
    expected = {name: value.item() for name, value in reconstruction_metrics(estimate, target, sampling_rate).items()}
    assert row == pytest.approx(expected)


@pytest.mark.parametrize("name", AVAILABLE)
def test_noise_on_real_sound_is_worse_in_the_stated_direction(name: str) -> None:
    target, sampling_rate = sound("speech_en_0890.flac", seconds=4)
    target = torch.cat((target, 0.5 * target.roll(20, dims=-1)), dim=1)
    estimates = torch.cat([target + level * noise(*target.shape) for level in (0.0, 0.01, 0.3)])
    rows = measure_reconstruction(estimates, target.expand_as(estimates), sampling_rate, names=[name])
    values = [row[name] for row in rows]
    ordered = sorted(values, reverse=RECONSTRUCTION_METRICS[name].direction == "↑")
    assert values == ordered
    assert len(set(values)) == 3


def test_tables_have_a_label_for_every_metric() -> None:
    for name, metric in RECONSTRUCTION_METRICS.items():
        assert METRICS[name] == metric.label
        assert metric.direction in metric.label
        assert metric.unit in metric.label
    assert METRICS["si_sdr_db"] == "SI-SDR (dB, ↑)"


def test_what_is_not_defined_is_left_out_and_the_rest_is_finite() -> None:
    target = torch.cat((torch.zeros(1, 1, 2000), noise(1, 1, 2000)))
    silent, loud = measure_reconstruction(target, target, 16000, names=AVAILABLE)
    assert not {"phase_coherence", "si_sdr_db", "snr_db"} & silent.keys()
    assert "phase_coherence" in loud
    assert not {"loudness_error_lu", "pesq", "interchannel_phase_coherence"} & (silent.keys() | loud.keys())
    assert all(math.isfinite(value) for row in (silent, loud) for value in row.values())
    means = mean_metrics([silent, loud])
    assert means["phase_coherence"] == loud["phase_coherence"]
    assert means["mel_distance"] == pytest.approx((silent["mel_distance"] + loud["mel_distance"]) / 2)


@pytest.mark.parametrize("name", ["si_sdr_db", "snr_db"])
def test_silence_does_not_decide_a_ratio_of_energies(name: str) -> None:
    (mono,) = measure_reconstruction(loud := noise(1, 1, 2000) + 0.1, noise(1, 1, 2000), 16000, names=[name])
    target = torch.cat((noise(1, 1, 2000), torch.zeros(1, 1, 2000)), dim=1)
    (stereo,) = measure_reconstruction(loud.expand(-1, 2, -1), target, 16000, names=[name])
    assert stereo[name] == pytest.approx(mono[name])


def test_spectra_are_shared_by_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    transform = registry.Spectra._transform
    monkeypatch.setattr(
        registry.Spectra, "_transform", lambda self, length: counts.append(length) or transform(self, length)
    )
    measure_reconstruction(noise(1, 2, 3000), noise(1, 2, 3000), 16000, names=SIGNAL_METRICS)
    assert sorted(counts) == sorted(2 * [2048, 1024, 512, 256, 128, 64, 32])


def test_faults_are_named() -> None:
    target = noise(1, 1, 3000)
    with pytest.raises(ValueError, match="no metric 'sdr'; choose from si_sdr_db"):
        measure_reconstruction(target, target, 16000, names=["sdr"])
    with pytest.raises(ValueError, match=r"\(1, 1, 2999\) and the original \(1, 1, 3000\)"):
        measure_reconstruction(target[..., 1:], target, 16000)
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure_reconstruction(target / 0, target, 16000)
