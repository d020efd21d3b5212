import math

import pytest
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data import CropBatch
from hf_audio_vae.evaluation import LatentStatistics
from hf_audio_vae.training.validation import Clip, validate

CPU = torch.device("cpu")


def test_it_measures_each_clip_by_itself_and_the_latents_of_all(model: WaveformVAE, batch: CropBatch) -> None:
    clips = [Clip(name, waveform) for name, waveform in zip(batch.names, batch.waveform, strict=True)]
    found = validate(model, clips, CPU)
    alone = [validate(model, [clip], CPU).metrics["si_sdr_db"] for clip in clips]
    assert found.metrics["si_sdr_db"] == pytest.approx(sum(alone) / len(alone))
    latents = LatentStatistics(model.frame_rate)
    with torch.no_grad():
        latents.add(model.encode(batch.waveform).latent_dist)
    assert found.metrics["bits_per_second"] == pytest.approx(latents.summary()["bits_per_second"], rel=1e-5)


def test_latents_that_are_not_finite_are_left_out_and_end_nothing(model: WaveformVAE, batch: CropBatch) -> None:
    with torch.no_grad():
        model.encoder.conv2.bias.fill_(math.inf)
    found = validate(model, [Clip("bad", batch.waveform[0])], CPU)
    assert found.health is None
    assert "active_units" not in found.metrics
    assert math.isnan(found.metrics["kl"])
