import math

import pytest
import torch

from hf_audio_vae import WaveformVAE
from hf_audio_vae.data import CropBatch
from hf_audio_vae.evaluation import CodeStatistics, LatentStatistics
from hf_audio_vae.models import WaveformVQVAE, WaveformVQVAEConfig
from hf_audio_vae.training.autoencoder.validation import Clip, validate

TINY_CODEC = {
    "sampling_rate": 8000,
    "encoder_hidden_size": 4,
    "decoder_hidden_size": 8,
    "downsampling_ratios": (2, 3),
    "hidden_size": 8,
    "residual_dilations": (1,),
    "num_codebooks": 2,
    "codebook_size": 16,
    "codebook_dim": 4,
    "quantizer_dropout": 0.0,
}
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


def test_silence_does_not_decide_the_si_sdr(model: WaveformVAE, batch: CropBatch) -> None:
    clips = [Clip(name, waveform) for name, waveform in zip(batch.names, batch.waveform, strict=True)]
    silent = Clip("silent", torch.zeros_like(batch.waveform[0]))
    with_silence, without = (validate(model, found, CPU).metrics for found in ([*clips, silent], clips))
    assert with_silence["si_sdr_db"] == pytest.approx(without["si_sdr_db"])
    assert with_silence["mel_distance"] != pytest.approx(without["mel_distance"])
    assert "si_sdr_db" not in validate(model, [silent], CPU).metrics


def test_latents_that_are_not_finite_are_left_out_and_end_nothing(model: WaveformVAE, batch: CropBatch) -> None:
    with torch.no_grad():
        model.encoder.conv2.bias.fill_(math.inf)
    found = validate(model, [Clip("bad", batch.waveform[0])], CPU)
    assert found.health is None
    assert "active_units" not in found.metrics
    assert math.isnan(found.metrics["kl"])


@pytest.fixture
def codec(batch: CropBatch) -> WaveformVQVAE:
    """Its codebooks start from the batch."""
    torch.manual_seed(0)
    model = WaveformVQVAE(WaveformVQVAEConfig(**TINY_CODEC)).train()
    model(batch.waveform)
    return model


def test_it_measures_the_codes_of_a_codec(codec: WaveformVQVAE, batch: CropBatch) -> None:
    clips = [Clip(name, waveform) for name, waveform in zip(batch.names, batch.waveform, strict=True)]
    found = validate(codec, clips, CPU)
    assert codec.training
    codes = CodeStatistics.of(codec)
    with torch.no_grad():
        for waveform in batch.waveform:
            codes.add(codec.eval().encode(waveform[None]).audio_codes)
    assert found.health is not None and found.health.name == "codes"
    assert found.metrics.items() >= codes.summary().items()
    assert found.metrics["commitment"] > 0
    assert found.metrics["bitrate_efficiency"] > 0


def test_validation_teaches_the_codebooks_nothing(codec: WaveformVQVAE, batch: CropBatch) -> None:
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    validate(codec, [Clip("a", batch.waveform[0])], CPU)
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())


def test_codes_of_latents_that_are_not_finite_are_left_out_and_end_nothing(
    codec: WaveformVQVAE, batch: CropBatch
) -> None:
    with torch.no_grad():
        next(codec.encoder.parameters()).fill_(math.nan)
    found = validate(codec, [Clip("bad", batch.waveform[0]), Clip("bad, too", batch.waveform[1])], CPU)
    assert found.health is None
    assert "lowest_usage" not in found.metrics
    assert math.isnan(found.metrics["commitment"])
