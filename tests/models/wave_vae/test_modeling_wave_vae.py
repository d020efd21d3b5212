from typing import Any

import torch
from torch import Tensor

from hf_audio_vae import WaveVAE, WaveVAEConfig
from tests.models.contract import AutoencoderContract
from tests.models.probes import seeded


class TestWaveVAE(AutoencoderContract):
    model_class = WaveVAE
    config_class = WaveVAEConfig
    config = {
        "audio_channels": 2,
        "sampling_rate": 8000,
        "downsampling_ratios": (2, 3),
        "hidden_size": 6,
        "unit_dilations": (1, 2),
        "latent_channels": 3,
        "residual_channels": 4,
        "skip_channels": 5,
        "num_stacks": 2,
        "layers_per_stack": 3,
        "distribution": "logistic_mixture",
        "num_components": 3,
        "past_dropout": 0.5,
        "latents_mean": (0.5, -1.0, 2.0),
        "latents_std": (1.0, 2.0, 0.5),
    }
    other_values = {
        "audio_channels": 1,
        "sampling_rate": 16000,
        "downsampling_ratios": (3, 2),
        "hidden_size": 7,
        "unit_dilations": (1,),
        "latent_channels": 2,
        "residual_channels": 5,
        "skip_channels": 6,
        "num_stacks": 1,
        "layers_per_stack": 2,
        "distribution": "mu_law",
        "num_components": 4,
        "past_dropout": 0.0,
        "latents_mean": (1.0, 2.0, 3.0),
        "latents_std": (1.0, 2.0, 3.0),
    }
    changes_with = {"latent_channels": {"latents_mean": None, "latents_std": None}}

    def new(self, config: dict[str, Any]) -> Any:
        return WaveVAE(WaveVAEConfig(**config))

    def loss(self, model: Any, x: Tensor) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            losses = model(x, sample_posterior=True, generator=seeded()).losses
        return losses["nll"] + 0.1 * losses["kl"]
