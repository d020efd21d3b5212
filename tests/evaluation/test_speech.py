"""PESQ and STOI of degraded speech."""

import sys

import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import resample
from hf_audio_vae.evaluation.speech import pesq_wideband, stoi
from tests.evaluation.test_metrics import noise, sound

METRICS = {"pesq": pesq_wideband, "pystoi": stoi}


def speech(seconds: float = 4.0) -> tuple[Tensor, int]:
    return sound("speech_en_0890.flac", seconds)


@pytest.mark.parametrize(("package", "best"), [("pesq", 4.644), ("pystoi", 1.0)])
def test_equal_speech_has_the_best_score_and_noise_lowers_it(package: str, best: float) -> None:
    pytest.importorskip(package)
    target, sampling_rate = speech()
    estimates = torch.cat([target + level * noise(*target.shape) for level in (0.0, 0.001, 0.005, 0.03)])
    scores = METRICS[package](estimates, target.expand_as(estimates), sampling_rate)
    assert scores[0].item() == pytest.approx(best, abs=1e-3)
    assert (scores.diff() < 0).all()


def test_the_scores_are_those_of_the_packages() -> None:
    pesq, pystoi = pytest.importorskip("pesq"), pytest.importorskip("pystoi")
    target, sampling_rate = speech()
    estimate = target + 0.02 * noise(*target.shape)
    ours, theirs = estimate[0, 0].double().numpy(), target[0, 0].double().numpy()
    expected = pesq.pesq(16000, theirs, ours, "wb"), pystoi.stoi(theirs, ours, sampling_rate)
    values = [metric(estimate, target, sampling_rate).item() for metric in (pesq_wideband, stoi)]
    assert values == pytest.approx(expected)


@pytest.mark.parametrize("package", METRICS)
def test_other_rates_and_channels_give_nearly_the_same_score(package: str) -> None:
    pytest.importorskip(package)
    target, sampling_rate = speech()
    estimate = target + 0.02 * noise(*target.shape)
    score = METRICS[package](estimate, target, sampling_rate).item()
    estimate, target = (resample(x[0], sampling_rate, 48000)[None].expand(1, 2, -1) for x in (estimate, target))
    assert METRICS[package](estimate, target, 48000).item() == pytest.approx(score, abs=0.03)  # the filter near 8 kHz


@pytest.mark.parametrize("package", METRICS)
def test_silent_and_short_clips_have_no_score(package: str) -> None:
    pytest.importorskip(package)
    target, sampling_rate = speech(1.0)
    silence = torch.zeros_like(target)
    for estimate, original in ((silence, target), (target, silence), (target[..., :1500], target[..., :1500])):
        assert METRICS[package](estimate, original, sampling_rate).isnan().item()


@pytest.mark.parametrize("package", METRICS)
def test_a_missing_package_is_named_in_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"needs the package {package}; .*hf-audio-vae\[metrics\]'`.$"):
        METRICS[package](noise(1, 1, 16000), noise(1, 1, 16000), 16000)
