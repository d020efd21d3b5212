"""The bitrate of Opus with the same figures, on clips of real sound."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hf_audio_vae.audio import read_audio, resample
from hf_audio_vae.evaluation.lossy import UncodableError, opus
from hf_audio_vae.evaluation.opus_scale import OpusScale
from hf_audio_vae.evaluation.registry import measure_reconstruction

DATA = Path(__file__).parents[2] / "data/held_out"
RATE = 24000


@pytest.fixture(scope="module")
def clip() -> Tensor:
    waveform, rate = read_audio(DATA / "speech_en_0890.flac")
    return resample(waveform, rate, RATE)[:, :RATE]


@pytest.mark.parametrize("metric", ["mel_distance", "si_sdr_db"])
@pytest.mark.parametrize(("kbits", "tolerance"), [(14, 0.001), (28, 0.001), (18, 0.1)])  # 18 is interpolated
def test_opus_itself_is_found_at_its_bitrate(clip: Tensor, metric: str, kbits: int, tolerance: float) -> None:
    coded = opus(clip, RATE, 1000 * kbits)
    (values,) = measure_reconstruction(coded.waveform[None], clip[None], RATE, names=(metric,))
    found = OpusScale([clip], RATE).rate_of(metric, values[metric])
    assert found.relation == "like"
    assert found.kbits == pytest.approx(coded.bits_per_second / 1000, rel=tolerance)


def test_values_outside_the_scale_are_said_to_be_outside(clip: Tensor) -> None:
    scale = OpusScale([clip], RATE)
    assert str(scale.rate_of("mel_distance", 50.0)).startswith("worse than Opus at 6.")
    assert str(scale.rate_of("si_sdr_db", 200.0)).startswith("better than Opus at 13")


def test_more_than_two_channels_have_no_scale() -> None:
    with pytest.raises(UncodableError, match="at most 2 channels"):
        OpusScale([torch.zeros(3, 100)], RATE)
