from typing import Any

import pytest
from torch import Tensor

from hf_audio_vae import SpectrogramVAE
from hf_audio_vae.models.spectrogram_vae import vocoders
from tests.models.contract import AutoencoderContract
from tests.models.probes import seeded

COMPLEX = {
    "front_end": "complex",
    "network": "residual",
    "downsampling_ratios": (4, 3),
    "bin_ratios": (2, 2),
    "block_out_channels": (4, 6),
    "layers_per_block": 1,
    "latent_channels": 2,
    "audio_channels": 2,
    "sampling_rate": 8000,
    "window_length": 16,
    "magnitude_exponent": 0.5,
    "mel_bins": None,
    "min_frequency_hz": None,
    "max_frequency_hz": None,
    "num_frames": None,
    "causal": False,
    "leading_frame": False,
    "mid_block_add_attention": False,
    "pad_mode": None,
    "power_offset": None,
    "log_variance": False,
    "latents_mean": (0.5, -1.0, 0.0, 2.0, 1.0, 0.0),
    "latents_std": (2.0, 0.5, 1.0, 1.0, 3.0, 1.0),
}
MEL = {"front_end": "mel", "magnitude_exponent": None, "mel_bins": 12, "min_frequency_hz": 50.0}
MEL |= {"max_frequency_hz": 3900.0, "window_length": 64, "downsampling_ratios": (16, 2), "latents_mean": None}
NO_STATISTICS = {"latents_mean": None, "latents_std": None}
MAGNITUDE = {"network": "magnitude_preserving", "num_frames": None, "latents_mean": (0.5, -1.0)}
MAGNITUDE |= {"latents_std": (2.0, 0.5)}
ATTENTION = MAGNITUDE | {"bin_ratios": (1, 1), "mid_block_add_attention": True}
CLASSIC = {"network": "classic", "num_frames": 6, "latents_mean": (0.5, -1.0), "latents_std": (2.0, 0.5)}


class SpectrogramContract(AutoencoderContract):
    model_class = SpectrogramVAE
    changes_with = {
        "front_end": MEL | NO_STATISTICS,
        "network": CLASSIC,
        "mel_bins": MEL | NO_STATISTICS,
        "min_frequency_hz": MEL | NO_STATISTICS,
        "max_frequency_hz": MEL | NO_STATISTICS,
        "num_frames": CLASSIC,
        "pad_mode": MEL | NO_STATISTICS,
        "power_offset": MEL | NO_STATISTICS,
        "mid_block_add_attention": ATTENTION,
        "leading_frame": {"causal": True},
        "latent_channels": NO_STATISTICS,
        "bin_ratios": NO_STATISTICS,
        "window_length": NO_STATISTICS,
    }
    fixed = {key: COMPLEX[key] for key in ("front_end", "network", "mel_bins", "num_frames")}
    fixed |= {"min_frequency_hz": None, "max_frequency_hz": None, "leading_frame": False, **NO_STATISTICS}
    fixed |= {"window_length": 24, "mid_block_add_attention": False, "pad_mode": None, "power_offset": None}


class TestSpectrogramVAE(SpectrogramContract):
    config = COMPLEX
    other_values = {
        "front_end": "mel",
        "network": "classic",
        "downsampling_ratios": (8, 2),
        "bin_ratios": (1, 3),
        "block_out_channels": (6, 4),
        "layers_per_block": 2,
        "latent_channels": 3,
        "audio_channels": 1,
        "sampling_rate": 16000,
        "window_length": 32,
        "magnitude_exponent": 1.0,
        "mel_bins": 8,
        "min_frequency_hz": 100.0,
        "max_frequency_hz": 3000.0,
        "num_frames": 3,
        "causal": True,
        "leading_frame": True,
        "mid_block_add_attention": True,
        "pad_mode": "reflect",
        "power_offset": 1e-3,
        "log_variance": True,
        "latents_mean": (1.0, 0.0, 2.0, 0.0, 1.0, 1.0),
        "latents_std": (1.0, 2.0, 0.5, 1.0, 1.0, 1.0),
    }


class TestCausalSpectrogramVAE(SpectrogramContract):
    config = COMPLEX | {"causal": True, "downsampling_ratios": (5, 2, 2), "bin_ratios": (2, 1, 2), "window_length": 10}
    config |= {"block_out_channels": (4, 4, 6), "audio_channels": 1, "latents_mean": (0.5, -1.0, 0.0, 2.0)}
    config |= {"latents_std": (2.0, 0.5, 1.0, 1.0), "leading_frame": True}
    other_values = TestSpectrogramVAE.other_values | {
        "downsampling_ratios": (2, 1, 2),
        "bin_ratios": (1, 3, 2),
        "block_out_channels": (6, 4, 2),
        "window_length": 20,
        "audio_channels": 2,
        "causal": False,
        "leading_frame": False,
        "latents_mean": (1.0, 0.0, 2.0, 0.0),
        "latents_std": (1.0, 2.0, 0.5, 1.0),
    }
    changes_with = {
        **SpectrogramContract.changes_with,
        "causal": {"leading_frame": False},
        "network": CLASSIC | {"causal": False, "leading_frame": False, "num_frames": 8},
        "num_frames": CLASSIC | {"causal": False, "leading_frame": False, "num_frames": 8},
        "front_end": {**MEL, **NO_STATISTICS, "downsampling_ratios": (16, 2, 2)},
    }
    mel_keys = ("mel_bins", "min_frequency_hz", "max_frequency_hz", "pad_mode", "power_offset")
    changes_with |= dict.fromkeys(mel_keys, changes_with["front_end"])
    changes_with["mid_block_add_attention"] = ATTENTION | {"causal": False, "leading_frame": False}
    changes_with["mid_block_add_attention"] |= {"bin_ratios": (1, 1, 1)}


class TestMelSpectrogramVAE(SpectrogramContract):
    config = {**COMPLEX, **MEL, "latents_mean": COMPLEX["latents_mean"]}
    other_values = TestSpectrogramVAE.other_values | {
        "front_end": "complex",
        "mel_bins": 8,
        "downsampling_ratios": (32, 3),
        "window_length": 96,
        "max_frequency_hz": 3000.0,
    }
    changes_with = {
        "front_end": COMPLEX | NO_STATISTICS,
        "magnitude_exponent": COMPLEX | NO_STATISTICS,
        "mel_bins": NO_STATISTICS,
        "bin_ratios": NO_STATISTICS,
        "latent_channels": NO_STATISTICS,
        "network": CLASSIC,
        "num_frames": CLASSIC,
        "mid_block_add_attention": ATTENTION,
        "leading_frame": {"causal": True},
    }
    fixed = {**SpectrogramContract.fixed, **MEL, **NO_STATISTICS, "mel_bins": 12, "sampling_rate": 8000}

    @pytest.fixture(autouse=True)
    def rough_phases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Projections amplify rounding; without them, decoding is as smooth as the network."""
        monkeypatch.setattr(vocoders, "ITERATIONS", 0)

    def loss(self, model: Any, x: Tensor) -> Tensor:
        losses = model(x, sample_posterior=True, generator=seeded()).losses
        return losses["spectrogram"] + 0.1 * losses["kl"]


class TestClassicSpectrogramVAE(SpectrogramContract):
    config = COMPLEX | CLASSIC
    other_values = TestSpectrogramVAE.other_values | {
        "network": "residual",
        "num_frames": 9,
        "latents_mean": (1.0, 0.0),
        "latents_std": (1.0, 2.0),
    }
    residual = {"network": "residual", "num_frames": None, **NO_STATISTICS}
    changes_with = {
        **SpectrogramContract.changes_with,
        "network": residual,
        "num_frames": {},
        "mid_block_add_attention": ATTENTION,
        "causal": residual,
        "leading_frame": residual | {"causal": True},
    }
    fixed = {**SpectrogramContract.fixed, **CLASSIC, **NO_STATISTICS, "downsampling_ratios": (4, 3)}
    fixed |= {"bin_ratios": (2, 2), "block_out_channels": (4, 6)}
