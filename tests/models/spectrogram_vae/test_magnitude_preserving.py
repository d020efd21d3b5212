"""The magnitude-preserving network: the contract without attention, and what attention changes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hf_audio_vae import SpectrogramVAE
from hf_audio_vae.audio.io import read_audio
from hf_audio_vae.models.blocks import needs_whole_signal, reconstruct_blocks
from hf_audio_vae.modules.magnitude_preserving import AttentionBlock, FrameConv, MagnitudeBlock
from hf_audio_vae.modules.spectrogram import LogMelSpectrogram
from hf_audio_vae.modules.spectrogram_networks import SpectrogramStage
from tests.models.probes import seeded
from tests.models.spectrogram_vae.test_modeling_spectrogram_vae import (
    ATTENTION,
    COMPLEX,
    MAGNITUDE,
    MEL,
    NO_STATISTICS,
    SpectrogramContract,
    TestSpectrogramVAE,
)

OTHER_VALUES = TestSpectrogramVAE.other_values
del TestSpectrogramVAE  # pytest would collect its tests here, too
RESIDUAL = {"network": "residual", "bin_ratios": (2, 2), **NO_STATISTICS}
CLASSIC = RESIDUAL | {"network": "classic", "num_frames": 6}


class TestMagnitudePreservingVAE(SpectrogramContract):
    config = {**COMPLEX, **MAGNITUDE, "bin_ratios": (1, 1), "log_variance": True}
    config |= {"block_out_channels": (16, 12)}
    other_values = OTHER_VALUES | {
        "network": "residual",
        "bin_ratios": (2, 2),
        "latents_mean": (1.0, 0.0),
        "latents_std": (1.0, 2.0),
        "log_variance": False,
    }
    changes_with = {
        **SpectrogramContract.changes_with,
        "network": RESIDUAL,
        "bin_ratios": RESIDUAL,
        "num_frames": CLASSIC,
        "mid_block_add_attention": {},
        "leading_frame": RESIDUAL | {"causal": True},
    }
    fixed = {**SpectrogramContract.fixed, **MAGNITUDE, **NO_STATISTICS, "bin_ratios": (1, 1)}
    fixed |= {"downsampling_ratios": (4, 3), "block_out_channels": (4, 6)}


SMALL = {**COMPLEX, **MEL, **ATTENTION, **NO_STATISTICS, "audio_channels": 1, "pad_mode": "reflect"}


def model_of(**changes: Any) -> SpectrogramVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpectrogramVAE(**{**SMALL, **changes}).eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=seeded())


@torch.no_grad()
def test_layers_keep_the_mean_square_of_noise() -> None:
    torch.manual_seed(0)
    block = SpectrogramStage([FrameConv(64, 96, 3), MagnitudeBlock(96, 64, causal=False), AttentionBlock(64)])
    x = noise(1, 64, 1, 400)
    for layer in block.layers()[:2]:  # attention averages its values, so that its branch is smaller
        x = layer(x)
        assert float(x.square().mean()) == pytest.approx(1, abs=0.1)
    assert 0.7 < float(block.layers()[2](x).square().mean()) < 1.1


@torch.no_grad()
def test_attention_reads_all_frames_and_convolutions_their_neighbours() -> None:
    for attention in (False, True):
        model = model_of(mid_block_add_attention=attention)
        x = noise(1, 1, 60, 12)
        changed = x.clone()
        changed[:, :, -1] += 1
        first, last = (model.encode(mel).latent_dist.mean for mel in (x, changed))
        differs = (first != last).any(dim=1).flatten()
        assert differs[-1]
        assert bool(differs[0]) == attention


def test_with_attention_chunks_are_refused_in_one_line_and_signals_are_coded_as_a_whole() -> None:
    model, x = model_of(), noise(1, 1, 40 * 32)
    assert needs_whole_signal(model)
    for call in (model.enable_tiling, lambda: list(model.encode_chunks(lambda a, b: x[..., a:b], x.shape[-1]))):
        with pytest.raises(ValueError, match="`mid_block_add_attention`.*whole signal; encode and decode.*as a whole"):
            call()
    with pytest.raises(ValueError, match="cannot be streamed"):
        model.streaming()
    with torch.no_grad():
        (whole,) = reconstruct_blocks(model, lambda start, stop: x[..., start:stop], x.shape[-1])
        assert torch.equal(whole, model(x).sample)
    complex_model = model_of(**{**COMPLEX, **ATTENTION})
    with pytest.raises(ValueError, match="`mid_block_add_attention`"):
        complex_model.streaming()


@torch.no_grad()
def test_a_mirrored_waveform_is_coded_in_chunks_exactly_and_at_any_length() -> None:
    model = model_of(mid_block_add_attention=False).double()
    for time in (1, 31, 40 * 32 + 7, 64 * 32):
        x = 0.3 * noise(1, 1, time).double()
        model.disable_tiling()
        whole = model.encode(x).latent_dist.mean
        model.enable_tiling(5)
        torch.testing.assert_close(model.encode(x).latent_dist.mean, whole, rtol=0, atol=1e-10)


def test_a_mirrored_tone_has_the_same_spectrum_at_its_ends_and_zeros_spread_it() -> None:
    options = {"sampling_rate": 8000, "min_frequency_hz": 0.0, "max_frequency_hz": 4000.0}
    cosine = torch.cos(2 * torch.pi * 1000 / 8000 * torch.arange(1024.0))[None, None]
    spread = {}
    for pad_mode in ("constant", "reflect"):
        mel = LogMelSpectrogram(256, 64, 20, pad_mode=pad_mode, **options)(cosine)[0, 0]
        spread[pad_mode] = float((mel[:, 0] - mel[:, 8]).abs().max())
    assert spread["reflect"] < 0.5 < spread["constant"]


def test_the_offset_of_the_power_is_the_floor_of_silence() -> None:
    options = {"sampling_rate": 8000, "min_frequency_hz": 0.0, "max_frequency_hz": 4000.0}
    layer = LogMelSpectrogram(256, 64, 20, power_offset=0.25, **options)
    silence = layer(torch.zeros(1, 1, 640))
    expected = (0.5 * layer.filters(silence).sum(dim=1)).log()
    torch.testing.assert_close(silence[0, 0], expected[:, None].expand(-1, 10), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bin_ratios": (2, 2)}, r"`bin_ratios` is \(2, 2\).*bins as channels; use \(1, 1\)"),
        ({"causal": True}, "`mid_block_add_attention` True.*not causal with attention"),
        ({"num_frames": 4}, "`num_frames` is 4, but `network` is 'magnitude_preserving'"),
        ({"network": "residual"}, "`mid_block_add_attention` is True, but `network` is 'residual'"),
        ({"pad_mode": "edge"}, "`pad_mode` 'edge' is unknown"),
        ({"power_offset": -1.0}, "`power_offset` is -1.0; use a number of at least 0"),
        ({"log_variance": 1}, "`log_variance` is 1; it has to be true or false"),
        ({**COMPLEX, **ATTENTION, "pad_mode": "reflect"}, "`pad_mode` is 'reflect', but `front_end` is 'complex'"),
    ],
)
def test_what_has_no_meaning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(**changes)


def test_it_learns_a_real_sound_in_thirty_steps() -> None:
    waveform, rate = read_audio("data/held_out/drum_snare_hard.flac")
    model = model_of(
        sampling_rate=rate, window_length=512, downsampling_ratios=(128, 2), max_frequency_hz=None
    ).train()
    x = waveform[None, :1, : 60 * model.hop_length]
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    distances = []
    for _ in range(30):
        losses = model(x, generator=seeded()).losses
        distances.append(float(losses["spectrogram"]))
        optimizer.zero_grad()
        (losses["spectrogram"] + 1e-4 * losses["kl"]).backward()
        optimizer.step()
    assert distances[-1] < 0.7 * distances[0]
