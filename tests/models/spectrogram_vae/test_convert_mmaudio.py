"""Against diffusers' `MMAudioVAE`, on small random models."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import MMAudioVAE
from torch import Tensor

from hf_audio_vae import SpectrogramVAE
from hf_audio_vae.audio.io import read_audio
from hf_audio_vae.cli.main import main
from hf_audio_vae.models.spectrogram_vae.convert_mmaudio import from_mmaudio, to_mmaudio

RATIO = 64  # samples per latent frame
WINDOW = 128


def mmaudio(**changes: Any) -> MMAudioVAE:
    config = {
        "mel_bins": 8,
        "latent_channels": 3,
        "hidden_channels": 6,
        "channel_multipliers": (1, 2, 3),
        "layers_per_block": 2,
        "sample_rate": 8000,
        "n_fft": WINDOW,
        "hop_length": RATIO // 2,
    }
    generator = torch.Generator().manual_seed(0)
    original = MMAudioVAE(**{**config, **changes}).eval()
    for parameter in original.parameters():
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    original.vae.data_mean.copy_(torch.linspace(-6, -3, original.config.mel_bins)[:, None])
    original.vae.data_std.copy_(torch.linspace(1, 2.5, original.config.mel_bins)[:, None])
    return original


def assert_equal_within_rounding(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def assert_same_function(model: SpectrogramVAE, original: MMAudioVAE, waveform: Tensor) -> None:
    ours, theirs = model.encode(waveform[:, None]).latent_dist, original.encode(waveform).latent_dist
    assert_equal_within_rounding(ours.mean, theirs.mean)
    assert_equal_within_rounding(ours.std, theirs.std)
    mel = model.decode(theirs.mean[..., None]).sample  # (batch, 1, frames, bins)
    assert_equal_within_rounding(mel.squeeze(1).mT, original.decode(theirs.mean).sample)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channel_multipliers": (1, 2), "layers_per_block": 1},
        {"channel_multipliers": (1, 1, 2, 3), "mel_bins": 5, "hop_length": 64},
    ],
    ids=str,
)
@torch.no_grad()
def test_a_converted_model_has_the_same_posterior_and_mel(changes: dict[str, Any]) -> None:
    original = mmaudio(**changes)
    model = from_mmaudio(original)
    assert not model.training
    assert model.hop_length == 2 * original.config.hop_length
    waveform, _ = read_audio("data/held_out/drum_snare_hard.flac")
    for frames in (2, 3, 40):
        time = frames * model.hop_length
        noise = torch.randn(1, time, generator=torch.Generator().manual_seed(1))
        assert_same_function(model, original, torch.cat([0.1 * noise, waveform[:1, :time]]).clamp(-1, 1))


@torch.no_grad()
def test_quiet_sounds_and_silence_have_the_same_spectra() -> None:
    original = mmaudio()
    model = from_mmaudio(original)
    noise = torch.randn(3, 20 * RATIO, generator=torch.Generator().manual_seed(1))
    quiet = noise * torch.tensor([[0.0], [1e-6], [1e-4]])
    mel = model.spectrogram(quiet[:, None]).squeeze(1).mT
    assert_equal_within_rounding(mel, original.mel_converter(quiet))


@torch.no_grad()
def test_every_sample_is_kept_where_the_original_loses_some() -> None:
    original = mmaudio()
    model = from_mmaudio(original)
    x = 0.1 * torch.randn(1, 10 * RATIO + 50, generator=torch.Generator().manual_seed(1))
    assert original.encode(x).latent_dist.mean.shape[-1] == 10
    assert model.encode(x[:, None]).latent_dist.mean.shape[-1] == 11
    assert model.decode_to_spectrogram(model.encode(x[:, None, :1]).latent_dist.mean).shape == (1, 1, 8, 2)


@torch.no_grad()
def test_it_is_written_back_with_equal_configuration_and_weights(tmp_path: Path) -> None:
    original = mmaudio(scaling_factor=0.417)
    original.save_pretrained(tmp_path / "theirs")
    ours, back = str(tmp_path / "ours"), str(tmp_path / "back")
    names = ["--from", "mmaudio", "--to", "hf_audio_vae"]
    assert main(["convert", str(tmp_path / "theirs"), ours, *names]) == 0
    assert main(["convert", ours, back, "--from", "hf_audio_vae", "--to", "mmaudio"]) == 0
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("theirs", "back")]
    assert configs[0] == configs[1]
    written, state = MMAudioVAE.from_pretrained(back).state_dict(), original.state_dict()
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], value) for name, value in state.items())
    assert_same_function(SpectrogramVAE.from_pretrained(ours), original, torch.zeros(1, 5 * RATIO))


@torch.no_grad()
def test_latents_are_normalised_by_the_scaling_factor(caplog: pytest.LogCaptureFixture) -> None:
    original = mmaudio(scaling_factor=0.417)
    model = from_mmaudio(original)
    z = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(1))
    assert_equal_within_rounding(model.normalize_latents(z), 0.417 * z)
    to_mmaudio(model)
    assert not caplog.records
    model.register_to_config(latents_mean=(1.0, 0.0, 0.0), latents_std=(1.0, 1.0, 1.0))
    to_mmaudio(model)
    assert "`latents_mean` and `latents_std` are left out except for `scaling_factor`" in caplog.text


def test_a_copy_keeps_dtype_and_shares_no_memory() -> None:
    original = mmaudio().to(torch.bfloat16)
    model = from_mmaudio(original)
    back = to_mmaudio(model)
    assert model.dtype == back.dtype == torch.bfloat16
    pointers = [{value.data_ptr() for value in m.state_dict().values()} for m in (original, model, back)]
    assert not (pointers[0] & pointers[1] or pointers[1] & pointers[2])
    assert len(pointers[1]) == len(model.state_dict())


@pytest.mark.parametrize("multipliers", [(1,), (2, 4)])
def test_levels_that_have_no_counterpart_are_refused(multipliers: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"`channel_multipliers` \(.*cannot be read.*two or more, the first of them 1"
    ):
        from_mmaudio(mmaudio(channel_multipliers=multipliers))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pad_mode": None}, "`pad_mode` None cannot be written as an MMAudioVAE, which needs 'reflect'"),
        ({"power_offset": 0.0}, "`power_offset` 0.0 cannot be written.*1e-09"),
        ({"log_variance": False}, "`log_variance` False cannot be written"),
        ({"mid_block_add_attention": False}, "`mid_block_add_attention` False cannot be written"),
        ({"audio_channels": 2}, "`audio_channels` 2 cannot be written"),
        ({"min_frequency_hz": 50.0}, "`min_frequency_hz` 50.0 cannot be written"),
        ({"downsampling_ratios": (32, 2, 2)}, r"`downsampling_ratios` \(32, 2, 2\) cannot be written"),
        ({"block_out_channels": (6, 9, 12)}, r"`block_out_channels` \(6, 9, 12\) cannot be written"),
    ],
)
def test_what_mmaudio_cannot_express_is_refused(changes: dict[str, Any], reason: str) -> None:
    config = from_mmaudio(mmaudio()).config
    arguments = {name: config[name] for name in SpectrogramVAE.argument_names()}
    with pytest.raises(ValueError, match=reason):
        to_mmaudio(SpectrogramVAE(**{**arguments, **changes}))


def test_statistics_of_bins_that_differ_between_encoder_and_decoder_are_refused() -> None:
    model = from_mmaudio(mmaudio())
    model.decoder.network.restore.mean.add_(1)
    with pytest.raises(ValueError, match=r"`decoder.network.restore.mean`.*one `vae.data_mean`; set both equal"):
        to_mmaudio(model)
