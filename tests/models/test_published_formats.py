"""Folders of other classes are read into a family, and published as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLLTX2Audio, AutoencoderOobleck, MMAudioVAE
from transformers import AutoFeatureExtractor, DacConfig, DacModel, EncodecConfig, EncodecModel

from hf_audio_vae.models import load_autoencoder
from hf_audio_vae.models.published_formats import PUBLISHED_FORMATS
from tests.models.probes import assert_equal_within_rounding, seeded

ORIGINALS: dict[str, Any] = {
    "AutoencoderOobleck": lambda: AutoencoderOobleck(8, [2, 4], [1, 2], 8, 4, audio_channels=1, sampling_rate=8000),
    "AutoencoderKLLTX2Audio": lambda: AutoencoderKLLTX2Audio(
        4, 1, (1, 2), 1, in_channels=1, latent_channels=2, mel_bins=16, sample_rate=8000, mel_hop_length=16
    ),
    "MMAudioVAE": lambda: MMAudioVAE(
        mel_bins=16,
        n_fft=64,
        hop_length=16,
        sample_rate=8000,
        latent_channels=4,
        hidden_channels=16,
        channel_multipliers=(1, 2),
        layers_per_block=1,
    ),
    "DacModel": lambda: DacModel(
        DacConfig(
            encoder_hidden_size=4,
            decoder_hidden_size=16,
            downsampling_ratios=[2, 4],
            n_codebooks=2,
            codebook_size=16,
            codebook_dim=2,
            sampling_rate=8000,
        )
    ),
    "EncodecModel": lambda: EncodecModel(
        EncodecConfig(
            num_filters=4,
            upsampling_ratios=[4, 2],
            codebook_size=16,
            hidden_size=8,
            codebook_dim=8,
            num_lstm_layers=1,
            target_bandwidths=[8.0],
            sampling_rate=8000,
        )
    ),
}


def original(name: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ORIGINALS[name]().eval()


def test_every_format_is_tested() -> None:
    assert ORIGINALS.keys() == PUBLISHED_FORMATS.keys()


@torch.no_grad()
@pytest.mark.parametrize("name", ORIGINALS)
def test_a_changed_model_is_published_as_its_original_class(name: str, tmp_path: Path) -> None:
    saved = original(name)
    saved.save_pretrained(tmp_path / "original")
    model = load_autoencoder(tmp_path / "original")
    x = 0.3 * torch.randn(1, model.config.audio_channels, 40 * model.hop_length, generator=seeded())
    before = model(x).sample
    for parameter in model.decoder.parameters():
        parameter.mul_(1.1)
    changed = model(x).sample
    model.save_published(tmp_path / "tuned")
    config = json.loads((tmp_path / "tuned/config.json").read_text())
    assert name in (config.get("_class_name"), *config.get("architectures", ()))
    theirs = type(saved).from_pretrained(tmp_path / "tuned")
    assert theirs.state_dict().keys() == saved.state_dict().keys()
    again = load_autoencoder(tmp_path / "tuned")
    assert_equal_within_rounding(again(x).sample, changed, operations=1024)
    assert not torch.allclose(changed, before, atol=1e-3 * float(before.abs().max()))


@torch.no_grad()
def test_a_tuned_oobleck_decodes_as_in_its_own_class(tmp_path: Path) -> None:
    original("AutoencoderOobleck").save_pretrained(tmp_path / "original")
    model = load_autoencoder(tmp_path / "original")
    for parameter in model.parameters():
        parameter.mul_(1.05)
    model.save_published(tmp_path / "tuned")
    latents = torch.randn(1, 4, 30, generator=seeded())
    theirs = AutoencoderOobleck.from_pretrained(tmp_path / "tuned").decode(latents).sample
    assert_equal_within_rounding(model.decode(latents).sample, theirs, operations=1024)


@torch.no_grad()
@pytest.mark.parametrize("name", ["DacModel", "EncodecModel"])
def test_a_tuned_codec_has_the_codes_and_the_feature_extractor_of_its_own_class(name: str, tmp_path: Path) -> None:
    original(name).save_pretrained(tmp_path / "original")
    model = load_autoencoder(tmp_path / "original")
    model.save_published(tmp_path / "tuned")
    theirs = type(original(name)).from_pretrained(tmp_path / "tuned")
    x = 0.3 * torch.randn(1, 1, 40 * model.hop_length, generator=seeded())
    codes = theirs.encode(x).audio_codes.reshape(1, -1, 40)
    assert torch.equal(model.encode(x).audio_codes[:, : codes.shape[1]], codes)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "tuned")
    assert type(extractor).__name__ == name.replace("Model", "FeatureExtractor")
    assert extractor.sampling_rate == model.sampling_rate
