from typing import Any

import pytest
import torch

from hf_audio_vae import STFTVAE
from tests.models.contract import AutoencoderContract


class TestSTFTVAE(AutoencoderContract):
    model_class = STFTVAE
    config = {
        "downsampling_ratios": (4, 3),
        "hidden_sizes": (6, 8),
        "num_blocks": (2, 1),
        "latent_channels": 3,
        "audio_channels": 2,
        "sampling_rate": 8000,
        "window_length": 16,
        "magnitude_exponent": 0.35,
        "kernel_size": 7,
        "expansion": 2.0,
        "causal": False,
        "latents_mean": (0.5, -1.0, 0.0),
        "latents_std": (2.0, 0.5, 1.0),
    }
    other_values = {
        "downsampling_ratios": (8, 2),
        "hidden_sizes": (4, 4),
        "num_blocks": (1, 1),
        "latent_channels": 4,
        "audio_channels": 1,
        "sampling_rate": 16000,
        "window_length": 12,
        "magnitude_exponent": 0.5,
        "kernel_size": 3,
        "expansion": 3.0,
        "causal": True,
        "latents_mean": (1.0, 0.0, 2.0),
        "latents_std": (1.0, 2.0, 0.5),
    }
    changes_with = {"latent_channels": {"latents_mean": None, "latents_std": None}}


class TestCausalSTFTVAE(AutoencoderContract):
    model_class = STFTVAE
    config = {
        **TestSTFTVAE.config,
        "downsampling_ratios": (5, 2, 1),
        "hidden_sizes": (4, 4, 4),
        "num_blocks": (1, 1, 1),
    }
    config |= {"window_length": 10, "audio_channels": 1, "causal": True, "magnitude_exponent": 1.0}
    other_values = {**TestSTFTVAE.other_values, "downsampling_ratios": (2, 1, 2), "hidden_sizes": (3, 2, 3)}
    other_values |= {"num_blocks": (1, 1, 2), "window_length": 20, "audio_channels": 2, "causal": False}
    changes_with = TestSTFTVAE.changes_with


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_blocks": (1,)}, r"`num_blocks` \(1,\) differ in length"),
        ({"downsampling_ratios": (), "hidden_sizes": (), "num_blocks": ()}, "at least 1 and at most"),
        ({"hidden_sizes": (0, 4)}, r"`hidden_sizes` is \(0, 4\)"),
        ({"expansion": 0.01}, "`expansion` is 0.01"),
        ({"window_length": 5}, "`window_length` is 5 and `hop_length` 4; use a window of two or more hops"),
        ({"magnitude_exponent": 0}, "`exponent` is 0"),
    ],
)
def test_a_configuration_out_of_range_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STFTVAE(**{**TestSTFTVAE.config, **changes})


@pytest.mark.parametrize("causal", [False, True])
def test_latency_of_causal_convolutions_is_that_of_windows_and_strides(causal: bool) -> None:
    model = STFTVAE(**{**TestSTFTVAE.config, "causal": causal})
    window, hop, stride = 16, 4, 3
    bound = window + (stride - 1) * hop
    assert (model.algorithmic_latency.total <= bound) == causal


def test_default_configuration_counts_what_its_documentation_says() -> None:
    with torch.device("meta"):
        model = STFTVAE()
    assert model.sampling_rate / model.hop_length == pytest.approx(46.9, abs=0.05)
    assert 5.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 6e6
